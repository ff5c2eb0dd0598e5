// Fetches the page anew every few seconds, while somebody looks at it and does not use it.
"use strict";
{
    const live = document.getElementById("dc-live");

    async function refresh() {
        if (document.visibilityState !== "visible" || live.contains(document.activeElement)) {
            return;
        }
        const response = await fetch(window.location.href, {credentials: "same-origin"});
        if (!response.ok || response.redirected) {
            return;
        }
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const fresh = page.getElementById("dc-live");
        if (fresh && !live.contains(document.activeElement)) {
            live.replaceChildren(...fresh.childNodes);
        }
    }

    window.setInterval(() => refresh().catch(() => {}), Number(live.dataset.seconds) * 1000);
}
