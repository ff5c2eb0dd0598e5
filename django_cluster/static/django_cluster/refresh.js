// Fetches the page anew every few seconds while it is visible. It waits only while a control of the part that is
// replaced has the focus. What a person has opened, scrolled or focused stays as it was.
"use strict";
{
    const live = document.getElementById("dc-live");
    const CONTROLS = "a[href], button, input, select, textarea, summary";

    function inUse() {
        const focused = document.activeElement;
        return live.contains(focused) && focused.matches(CONTROLS);
    }

    function say(what) {
        live.querySelectorAll("[data-live]").forEach((note) => {
            note.hidden = note.dataset.live !== what;
        });
    }

    function replace(fresh) {
        const named = [...live.querySelectorAll("[id]")];
        const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
        const open = named.filter((each) => each.open).map((each) => each.id);
        const scrolled = named.filter((each) => each.scrollLeft).map((each) => [each.id, each.scrollLeft]);
        live.replaceChildren(...fresh.childNodes);
        const now = (id) => document.getElementById(id) || {};
        open.forEach((id) => { now(id).open = true; });
        scrolled.forEach(([id, left]) => { now(id).scrollLeft = left; });
        if (focused && now(focused).focus) {
            now(focused).focus({preventScroll: true});
        }
    }

    async function refresh() {
        if (document.visibilityState !== "visible") {
            return;
        }
        if (inUse()) {
            say("waits");
            return;
        }
        let fresh = null;
        try {
            const response = await fetch(window.location.href, {credentials: "same-origin"});
            if (response.ok && !response.redirected) {
                fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("dc-live");
            }
        } catch {
            // The server is away: the page says so, and it is asked again.
        }
        if (inUse()) {
            say("waits");
        } else if (fresh) {
            replace(fresh);
        } else {
            say("fails");
        }
    }

    window.setInterval(refresh, Number(live.dataset.seconds) * 1000);
}
