// Shown once whenever the browser was last used by somebody else, before anything of the workspace.
(async () => {
  "use strict";
  const LIMIT_MS = 4000;
  const ROUND_MS = 100;
  const later = (ms) => new Promise((done) => setTimeout(done, ms));
  const tried = async (work) => {
    try {
      await Promise.race([work(), later(LIMIT_MS)]);
    } catch {
      // What the browser does not have or does not let us clear holds nobody up.
    }
  };

  // Open pages of the last user leave first: they would write their drafts again. Those that crashed
  // never do, and those that the browser has put to sleep only when it wakes them.
  const PRESENT = "comfyui-manager.tab.";
  const somebodyIsThere = () => Object.keys(localStorage).some((key) => key.startsWith(PRESENT));
  const haveOthersLeave = async () => {
    const channel = new BroadcastChannel("comfyui-manager");
    do {
      channel.postMessage("leave");
      await later(ROUND_MS);
    } while (somebodyIsThere());
  };
  await tried(haveOthersLeave);

  const forget = (name) =>
    new Promise((done) => {
      const asked = indexedDB.deleteDatabase(name);
      asked.onsuccess = asked.onerror = asked.onblocked = done;
    });
  await tried(async () => localStorage.clear());
  await tried(async () => sessionStorage.clear());
  await tried(async () => {
    const found = await indexedDB.databases();
    await Promise.all(found.map(({ name }) => forget(name)));
  });
  await tried(async () => {
    for (const name of await caches.keys()) await caches.delete(name);
  });
  await tried(async () => {
    const found = await navigator.serviceWorker.getRegistrations();
    await Promise.all(found.map((one) => one.unregister()));
  });
  await tried(async () => {
    const folder = await navigator.storage.getDirectory();
    for await (const name of folder.keys()) await folder.removeEntry(name, { recursive: true });
  });
  location.replace("/.gate/in");
})();
