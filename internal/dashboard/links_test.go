package dashboard_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// unseen are the routes that are no page to look at: what a page loads, follows or leads away to, what is sent to programs.
var unseen = map[string]bool{
	"GET /": true, "GET /healthz": true, "GET /readyz": true, "GET /static/{file}": true, "GET /badge/{token}.svg": true,
	"GET /d/{token}": true, "GET /d/{token}/contents.json": true, "GET /d/{token}/check.sql": true, "GET /d/{token}/sealed/{name}": true,
	"GET /dashboard/live": true, "GET /dashboard/databases/{database}/live": true, "GET /dashboard/backups/{backup}/live": true,
	"GET /dashboard/backups/{backup}/links": true, // a reload of what a POST answered
}

// Whatever a browser without scripts has works: every link of every page in its states leads to a page and a place on it,
// every form that can be sent is answered. Each route is a page that is looked at in some state, which TestPages holds
// against axe-core, or a file that a page links to, or the aim of a form: a new one fails here until it is.
func TestEveryLinkAndFormLeadsSomewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, withMail)
	reached := map[string]bool{}
	for _, x := range screens {
		if strings.HasPrefix(x.name, "error-") {
			continue
		}
		n, path := x.at(t, s)
		page := n.visit(t, x.name, path)
		reached[n.route("GET", path)] = true
		for _, link := range page.links {
			if n.leads(t, x.name, page, link) {
				reached[n.route("GET", link)] = true
			}
		}
		for _, f := range page.forms { // the last, so that what a form changes is missed by nothing
			reached[n.route(f.method, f.action)] = true
			if f.action == "/logout" || f.method != http.MethodPost {
				continue
			}
			if a := n.post(t, f.action, f.fields); a.StatusCode >= 500 || a.StatusCode == http.StatusNotFound || a.StatusCode == http.StatusMethodNotAllowed {
				t.Errorf("%s: the form to %s: %s", x.name, f.action, a.Status)
			}
		}
	}
	for _, route := range s.routes(t) {
		method, _, _ := strings.Cut(route, " ")
		if !unseen[route] && !reached[route] && method != http.MethodHead {
			t.Errorf("%s: no page in its states is at it, links to its file or has its form", route)
		}
	}
}

// route is the server's own name for what a request goes to; its method alone where there is none.
func (n *tenant) route(method, at string) string {
	u, err := url.Parse(at)
	if err != nil {
		return method
	}
	c := chi.NewRouteContext()
	if !n.Mux().Match(c, method, u.Path) {
		return method
	}
	return method + " " + c.RoutePattern()
}

// read is what a browser without scripts makes of a page.
type read struct {
	path  string
	links []string
	forms []form
	ids   []string
}

type form struct {
	method, action string
	fields         url.Values
}

// visit reads a page.
func (n *tenant) visit(t *testing.T, name, path string) read {
	t.Helper()
	a := n.do(t, http.MethodGet, path)
	root, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(name, err)
	}
	page := read{path: path}
	for e := range root.Descendants() {
		if id := attribute(e, "id"); id != "" {
			if slices.Contains(page.ids, id) {
				t.Errorf("%s: two elements are called %s", name, id)
			}
			page.ids = append(page.ids, id)
		}
		switch href := attribute(e, "href"); {
		case e.DataAtom == atom.A && strings.HasPrefix(href, "https://") || strings.HasPrefix(href, "/api/"): // other people's, and the API's
		case e.DataAtom == atom.A && href == "":
			t.Errorf("%s: a link leads nowhere", name)
		case e.DataAtom == atom.A:
			page.links = append(page.links, href)
		case e.DataAtom == atom.Form:
			page.forms = append(page.forms, formOf(t, name, e))
		case e.DataAtom == atom.Button && attribute(e, "type") == "button":
			t.Errorf("%s: a button does nothing without a script", name)
		}
	}
	return page
}

// leads follows a link, and tells whether what it leads to is no page, as a file is that is exported.
func (n *tenant) leads(t *testing.T, name string, from read, link string) (file bool) {
	t.Helper()
	at, place, _ := strings.Cut(link, "#")
	to := from
	if at != "" {
		a := n.do(t, http.MethodGet, at)
		if a.StatusCode >= 400 {
			t.Errorf("%s: the link to %s: %s", name, link, a.Status)
			return false
		}
		if place == "" {
			return !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html")
		}
		to = n.visit(t, name+" > "+link, at)
	}
	if place != "" && !slices.Contains(to.ids, place) {
		t.Errorf("%s: the link to %s leads to no place on that page", name, link)
	}
	return false
}

// formOf reads a form with what its fields begin with, as a browser would send it by its first button.
func formOf(t *testing.T, name string, e *html.Node) form {
	t.Helper()
	f := form{strings.ToUpper(attribute(e, "method")), attribute(e, "action"), url.Values{}}
	sends := false
	for x := range e.Descendants() {
		field, value := attribute(x, "name"), attribute(x, "value")
		switch {
		case x.DataAtom == atom.Button && !has(x, "disabled"):
			if !sends && field != "" {
				f.fields.Set(field, value)
			}
			sends = true
		case x.DataAtom == atom.Button:
			sends = true // there is one, and what it does is going on
		case x.DataAtom == atom.Input && (attribute(x, "type") == "checkbox" || attribute(x, "type") == "radio"):
			if has(x, "checked") {
				f.fields.Add(field, value)
			}
		case x.DataAtom == atom.Input && field != "":
			f.fields.Set(field, value)
		case x.DataAtom == atom.Option && (has(x, "selected") || !f.fields.Has(attribute(x.Parent, "name"))):
			f.fields.Set(attribute(x.Parent, "name"), value)
		}
	}
	if !sends || f.action == "" || f.method == "" {
		t.Errorf("%s: the form %s to %q has no button, no method or no aim", name, f.method, f.action)
	}
	return f
}

func attribute(e *html.Node, name string) string {
	for _, a := range e.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(e *html.Node, name string) bool {
	return slices.ContainsFunc(e.Attr, func(a html.Attribute) bool { return a.Key == name })
}
