// Before the first paint: the theme and the language that were chosen here last.
(() => {
  const kept = (key) => {
    try { return localStorage.getItem(key); } catch { return null; }
  };
  const root = document.documentElement;
  const theme = kept("procwarden.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const wanted = kept("procwarden.language") || (navigator.languages || [navigator.language]).find(
    (it) => /^(ru|en)\b/i.test(it || ""));
  root.lang = /^ru\b/i.test(wanted || "") ? "ru" : "en";
})();
