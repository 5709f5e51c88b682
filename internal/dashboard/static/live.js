// Keeps the part of a page that names its source in data-live up to date, while somebody looks at it.
(function () {
  var el = document.querySelector("[data-live]");
  if (!el) return;
  setInterval(function () {
    if (document.hidden) return;
    fetch(el.dataset.live).then(function (r) {
      if (r.ok) return r.text().then(function (html) { if (el.innerHTML !== html) el.innerHTML = html; });
      if (r.status === 401) location.reload();
    }).catch(function () {});
  }, 2000);
})();
