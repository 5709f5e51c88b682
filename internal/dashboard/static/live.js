// Keeps the part of a page that changes up to date, while somebody looks at it and something is going on: the
// part itself says so, by an element whose data-live names its source. Once there is none, it rests, so that a
// page left open keeps no session alive.
(function () {
  var part = document.getElementById("live");
  if (!part) return;
  var timer = setInterval(function () {
    var live = part.querySelector("[data-live]");
    if (!live) return clearInterval(timer);
    if (document.hidden) return;
    fetch(live.dataset.live).then(function (answer) {
      if (answer.status === 401 || answer.status === 410) return location.reload();
      if (answer.ok) return answer.text().then(show);
    }).catch(function () {}); // the next look may succeed
  }, 2000);

  var shown;
  function show(html) {
    if (html === shown) return;
    var at = part.contains(document.activeElement) ? aim(document.activeElement) : "";
    part.innerHTML = shown = html;
    if (!at) return;
    Array.from(part.querySelectorAll("a, button")).some(function (e) {
      if (aim(e) !== at) return false;
      e.focus({ preventScroll: true }); // what had the keyboard has it still
      return true;
    });
  }

  function aim(e) { return e.href || (e.form && e.form.action) || ""; }
})();
