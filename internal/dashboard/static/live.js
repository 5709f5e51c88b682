// Keeps the part of a page that changes up to date, while somebody looks at it and something is going on: the part itself
// says so, by an element whose data-live names its source. Once there is none, it rests, so that a page left open keeps no
// session alive. Everything else works without this.
(function () {
  var part = document.getElementById("live"), source;

  function live() {
    var e = part && part.querySelector("[data-live]");
    return e && e.dataset.live;
  }

  function follow() {
    if (source || document.hidden || !live()) return;
    source = new EventSource(live());
    source.addEventListener("page", function (e) { show(e.data); });
    source.addEventListener("end", rest);
    source.addEventListener("gone", function () { rest(); location.reload(); });
    source.onerror = function () {
      if (source && source.readyState === EventSource.CLOSED) { // refused: a browser asks again by itself for less
        rest();
        setTimeout(look, 15000);
      }
    };
  }

  function look() {
    if (!live() || document.hidden) return;
    fetch(live()).then(function (answer) {
      if (answer.status === 401 || answer.status === 410) return location.reload();
      if (answer.ok) return answer.text().then(show).then(follow);
    }).catch(function () {}); // the next look may succeed
  }

  function rest() {
    if (source) source.close();
    source = undefined;
  }

  function show(html) {
    var t = document.createElement("template");
    t.innerHTML = html;
    copies(t.content);
    children(part, t.content);
  }

  // children makes those of one node like those of another, and keeps what is alike: what has the keyboard, what is
  // selected, and what was unfolded stays as it is.
  function children(to, from) {
    var had = Array.from(to.childNodes), want = Array.from(from.childNodes);
    want.forEach(function (b, i) {
      var a = had[i];
      if (!a) return to.appendChild(b);
      if (a.nodeType !== b.nodeType || a.nodeName !== b.nodeName) return to.replaceChild(b, a);
      if (a.nodeType !== Node.ELEMENT_NODE) {
        if (a.data !== b.data) a.data = b.data;
        return;
      }
      attributes(a, b);
      children(a, b);
    });
    had.slice(want.length).forEach(function (a) { to.removeChild(a); });
  }

  function attributes(a, b) {
    Array.from(b.attributes).forEach(function (x) {
      if (a.getAttribute(x.name) !== x.value && !(x.name === "open" && a.nodeName === "DETAILS")) a.setAttribute(x.name, x.value);
    });
    Array.from(a.attributes).forEach(function (x) {
      if (!b.hasAttribute(x.name) && !(x.name === "open" && a.nodeName === "DETAILS")) a.removeAttribute(x.name);
    });
  }

  // copies gives what is to be pasted a button that copies it.
  function copies(root) {
    if (!navigator.clipboard) return;
    root.querySelectorAll("pre").forEach(function (pre) {
      if (pre.querySelector(".copy")) return;
      var button = document.createElement("button");
      button.type = "button";
      button.className = "copy plain";
      button.textContent = "Copy";
      pre.appendChild(button);
    });
  }

  document.addEventListener("click", function (e) {
    var button = e.target.closest && e.target.closest(".copy");
    if (!button) return;
    var pre = button.parentNode.cloneNode(true);
    pre.querySelector(".copy").remove();
    navigator.clipboard.writeText(pre.textContent).then(function () {
      button.textContent = "Copied";
      setTimeout(function () { button.textContent = "Copy"; }, 2000);
    });
  });

  document.addEventListener("visibilitychange", function () { document.hidden ? rest() : follow(); });
  copies(document);
  follow();
})();
