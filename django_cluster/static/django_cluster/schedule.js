// Shows what a schedule means, in words and in dates, while somebody fills in its form.
"use strict";
window.addEventListener("load", () => {
    const list = document.getElementById("dc-runs");
    const form = document.getElementById("schedule_form");
    if (!list || !form) {
        return;
    }
    const fieldsOfTypes = {minutes: "I", cron: "C"};
    const type = form.querySelector("[name=schedule_type]");

    // A field that says nothing of the chosen type is not shown, unless it is what has to be corrected.
    function showFieldsOfType() {
        Object.entries(fieldsOfTypes).forEach(([name, code]) => {
            const row = form.querySelector(`[name=${name}]`)?.closest(`[class*="field-${name}"]`);
            if (row && type) {
                row.hidden = type.value !== code && !row.querySelector(".errorlist");
            }
        });
    }

    const words = form.querySelector(".dc-words");
    let waiting = 0;
    let asked = 0;

    function item(text, className) {
        const line = document.createElement("li");
        line.textContent = text;
        if (className) {
            line.className = className;
        }
        return line;
    }

    async function preview() {
        const mine = ++asked;
        const response = await fetch(list.dataset.url, {method: "POST", body: new FormData(form), credentials: "same-origin"});
        if (!response.ok || mine !== asked) {
            return;
        }
        const found = await response.json();
        if (words) {
            words.textContent = found.words || "-";
        }
        list.replaceChildren(...(found.problem ? [item(found.problem, "dc-error")] : found.runs.map((run) => item(run))));
    }

    function soon() {
        window.clearTimeout(waiting);
        waiting = window.setTimeout(() => preview().catch(() => {}), 250);
    }

    form.addEventListener("input", soon);
    form.addEventListener("change", soon);
    form.addEventListener("change", showFieldsOfType);
    showFieldsOfType();
    if (form.querySelector("[name=schedule_type]")) {
        soon();
    }
});
