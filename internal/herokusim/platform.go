package herokusim

import (
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

type object = map[string]any

func (s *Sim) platform(r chi.Router) {
	r.Get("/account", s.as(func(w http.ResponseWriter, _ *http.Request, p principal) {
		reply(w, 200, object{"id": uuid.NewSHA1(uuid.Nil, []byte(p.email)).String(), "email": p.email})
	}))
	r.Get("/account/features/{feature}", s.as(func(w http.ResponseWriter, _ *http.Request, _ principal) { missing(w, "feature") }))
	r.Get("/apps", s.as(func(w http.ResponseWriter, _ *http.Request, p principal) {
		list := []object{}
		for _, a := range s.apps {
			if s.sees(p, a) {
				list = append(list, s.appJSON(a))
			}
		}
		reply(w, 200, list)
	}))
	r.Post("/apps", s.owner(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Name string }
		if !decode(r, &in) || in.Name == "" || s.apps[in.Name] != nil {
			fail(w, 422, "invalid_params", "Name is already taken.")
			return
		}
		reply(w, 201, s.appJSON(s.createApp(in.Name)))
	}))
	r.Get("/apps/{app}", s.app(func(w http.ResponseWriter, _ *http.Request, _ principal, a *app) { reply(w, 200, s.appJSON(a)) }))
	r.Get("/apps/{app}/collaborators", s.app(func(w http.ResponseWriter, _ *http.Request, _ principal, a *app) {
		list := []object{{"role": "owner", "user": object{"email": s.cfg.Email}}}
		for email := range a.Collaborators {
			list = append(list, object{"role": "collaborator", "user": object{"email": email}, "permissions": []object{}})
		}
		reply(w, 200, list)
	}))
	r.Post("/apps/{app}/collaborators", s.owner(s.share))
	r.Delete("/apps/{app}/collaborators/{email}", s.owner(s.unshare))
	r.Get("/apps/{app}/config-vars", s.app(s.readConfig))
	r.Get("/apps/{app}/releases", s.app(func(w http.ResponseWriter, _ *http.Request, _ principal, a *app) {
		reply(w, 200, []object{{"id": uuid.NewString(), "version": a.Version, "status": "succeeded", "app": object{"id": a.ID, "name": a.Name}}})
	}))
	r.Get("/apps/{app}/addons", s.app(func(w http.ResponseWriter, _ *http.Request, _ principal, a *app) {
		list := []object{}
		for _, x := range s.addons {
			if !x.Gone && x.App == a {
				list = append(list, s.addonJSON(x))
			}
		}
		reply(w, 200, list)
	}))
	r.Get("/apps/{app}/addon-attachments", s.app(func(w http.ResponseWriter, _ *http.Request, _ principal, a *app) {
		reply(w, 200, s.attachmentsWhere(func(t *attachment) bool { return t.App == a }))
	}))
	r.Get("/apps/{app}/addon-attachments/{attachment}", s.app(func(w http.ResponseWriter, r *http.Request, _ principal, a *app) {
		list := s.attachmentsWhere(func(t *attachment) bool { return t.App == a && t.Name == chi.URLParam(r, "attachment") })
		if len(list) == 0 {
			missing(w, "add_on attachment")
			return
		}
		reply(w, 200, list[0])
	}))
	r.Post("/apps/{app}/addons", s.createAddon)
	r.Get("/apps/{app}/addons/{addon}", s.app(func(w http.ResponseWriter, r *http.Request, _ principal, a *app) {
		x := s.findAddon(chi.URLParam(r, "addon"), a.Name)
		if x == nil {
			missing(w, "add_on")
			return
		}
		reply(w, 200, s.addonJSON(x))
	}))
	r.Patch("/apps/{app}/addons/{addon}", s.changePlan)
	r.Delete("/apps/{app}/addons/{addon}", s.destroyAddon)
	r.Get("/addons/{addon}", s.addon(func(w http.ResponseWriter, _ *http.Request, x *addon) { reply(w, 200, s.addonJSON(x)) }))
	r.Get("/addons/{addon}/addon-attachments", s.addon(func(w http.ResponseWriter, _ *http.Request, x *addon) {
		reply(w, 200, s.attachmentsWhere(func(t *attachment) bool { return t.Addon == x }))
	}))
	r.Get("/addons/{addon}/config", s.addon(func(w http.ResponseWriter, _ *http.Request, x *addon) { reply(w, 200, pairs(x.Config)) }))
	r.Patch("/addons/{addon}/config", s.addon(s.setConfig))
	r.Get("/addons/{addon}/config/{namespace}", s.addon(s.namespaceConfig))
	r.Post("/addons/{addon}/actions/provision", s.addon(s.provisioned))
	r.Post("/addons/{addon}/actions/deprovision", s.addon(func(w http.ResponseWriter, _ *http.Request, x *addon) {
		s.remove(x)
		reply(w, 200, s.addonJSON(x))
	}))
	r.Get("/addon-services/{service}/plans", s.as(func(w http.ResponseWriter, _ *http.Request, _ principal) {
		list := []object{}
		for _, p := range s.cfg.Provider.Plans {
			list = append(list, planJSON(s.cfg.Provider.ID, p))
		}
		reply(w, 200, list)
	}))
	r.Get("/addon-attachments", s.as(func(w http.ResponseWriter, _ *http.Request, p principal) {
		reply(w, 200, s.attachmentsWhere(func(t *attachment) bool { return s.sees(p, t.App) || s.sees(p, t.Addon.App) }))
	}))
	r.Post("/apps/{app}/log-sessions", s.app(s.openLog))
	r.Post("/addon-attachments", s.owner(s.createAttachment))
	r.Delete("/addon-attachments/{id}", s.owner(s.detach))
	r.Post("/actions/addon-attachments/resolve", s.as(s.resolveAttachment))
	r.Post("/actions/addons/resolve", s.as(s.resolveAddon))
}

// app finds the app of the path and checks that the caller may see it.
func (s *Sim) app(h func(http.ResponseWriter, *http.Request, principal, *app)) http.HandlerFunc {
	return s.as(func(w http.ResponseWriter, r *http.Request, p principal) {
		a := s.findApp(chi.URLParam(r, "app"))
		switch {
		case a == nil:
			missing(w, "app")
		case !s.sees(p, a):
			forbidden(w)
		default:
			h(w, r, p, a)
		}
	})
}

// addon finds the add-on of the path; an add-on's own token reaches that one only.
func (s *Sim) addon(h func(http.ResponseWriter, *http.Request, *addon)) http.HandlerFunc {
	return s.as(func(w http.ResponseWriter, r *http.Request, p principal) {
		x := s.findAddon(chi.URLParam(r, "addon"), "")
		switch {
		case x == nil:
			missing(w, "add_on")
		case p.addon != nil && p.addon != x, p.addon == nil && !s.sees(p, x.App):
			forbidden(w)
		default:
			h(w, r, x)
		}
	})
}

func (s *Sim) appJSON(a *app) object {
	return object{
		"id": a.ID, "name": a.Name, "owner": object{"email": s.cfg.Email, "id": "owner"}, "team": nil, "region": object{"name": "us"},
		"stack": object{"name": "heroku-24"}, "created_at": a.CreatedAt, "web_url": nil, "space": nil,
	}
}

func planJSON(service, slug string) object {
	return object{
		"id": uuid.NewSHA1(uuid.Nil, []byte(service+slug)).String(), "name": service + ":" + slug, "human_name": slug,
		"price": object{"cents": 0, "unit": "month", "contract": false, "metered": false}, "state": "ga",
	}
}

func (s *Sim) addonJSON(x *addon) object {
	vars := []string{}
	for k := range x.Config {
		vars = append(vars, k)
	}
	return object{
		"id": x.ID, "name": x.Name, "state": x.State, "provision_message": x.Message, "provider_id": x.ID, "config_vars": vars,
		"app": object{"id": x.App.ID, "name": x.App.Name}, "billing_entity": object{"id": x.App.ID, "name": x.App.Name, "type": "app"},
		"addon_service": object{"id": uuid.NewSHA1(uuid.Nil, []byte(x.Service)).String(), "name": x.Service, "human_name": x.Service},
		"plan":          planJSON(x.Service, x.Plan), "billed_price": object{"cents": 0, "unit": "month", "contract": false},
		"web_url": s.cfg.URL + "/sso/apps/" + x.App.Name + "/addons/" + x.Name, "actions": []any{}, "created_at": x.CreatedAt, "updated_at": x.CreatedAt,
	}
}

func (s *Sim) attachmentJSON(t *attachment) object {
	var namespace any
	if t.Namespace != "" {
		namespace = t.Namespace
	}
	vars := []string{t.Name + "_URL"}
	if t.Addon.Service != postgresService {
		vars = []string{}
		for k := range t.Addon.Config {
			vars = append(vars, k)
		}
	}
	var logInput any
	if t.Addon.Service == s.cfg.Provider.ID {
		logInput = s.logInput(t.Addon)
	}
	return object{
		"id": t.ID, "name": t.Name, "namespace": namespace, "addon": s.addonJSON(t.Addon), "app": object{"id": t.App.ID, "name": t.App.Name},
		"config_vars": vars, "web_url": s.cfg.URL + "/sso/apps/" + t.App.Name + "/addons/" + t.Addon.Name,
		"log_input_url": logInput, "created_at": t.CreatedAt, "updated_at": t.CreatedAt,
	}
}

func (s *Sim) attachmentsWhere(keep func(*attachment) bool) []object {
	list := []object{}
	for _, t := range s.attachments {
		if keep(t) {
			list = append(list, s.attachmentJSON(t))
		}
	}
	return list
}

func pairs(config map[string]string) []object {
	list := []object{}
	for k, v := range config {
		list = append(list, object{"name": k, "value": v})
	}
	return list
}

func (s *Sim) share(w http.ResponseWriter, r *http.Request) {
	var in struct{ User string }
	a := s.findApp(chi.URLParam(r, "app"))
	if a == nil || !decode(r, &in) || in.User == "" {
		missing(w, "app")
		return
	}
	a.Collaborators[in.User] = true
	reply(w, 201, object{"app": object{"name": a.Name}, "user": object{"email": in.User}, "created_at": time.Now().UTC()})
}

func (s *Sim) unshare(w http.ResponseWriter, r *http.Request) {
	if a := s.findApp(chi.URLParam(r, "app")); a != nil {
		delete(a.Collaborators, chi.URLParam(r, "email"))
		reply(w, 200, object{})
		return
	}
	missing(w, "app")
}

// readConfig is closed to an add-on's own token: a partner's scope has no config vars.
func (s *Sim) readConfig(w http.ResponseWriter, _ *http.Request, p principal, a *app) {
	if p.addon != nil {
		forbidden(w)
		return
	}
	reply(w, 200, s.configVars(a))
}

func (s *Sim) setConfig(w http.ResponseWriter, r *http.Request, x *addon) {
	var in struct {
		Config []struct{ Name, Value string }
	}
	if !decode(r, &in) {
		fail(w, 422, "invalid_params", "config is required")
		return
	}
	prefix := strings.ToUpper(strings.ReplaceAll(s.cfg.Provider.ID, "-", "_")) + "_"
	for _, c := range in.Config {
		if !strings.HasPrefix(c.Name, prefix) {
			fail(w, 422, "invalid_params", c.Name+" is not a config var of this add-on")
			return
		}
		x.Config[c.Name] = c.Value
	}
	x.App.Version++
	reply(w, 200, pairs(x.Config))
}

func (s *Sim) namespaceConfig(w http.ResponseWriter, r *http.Request, x *addon) {
	d := s.databases[x.Name]
	list := []object{}
	if d != nil {
		if _, ok := d.url(chi.URLParam(r, "namespace")); ok {
			list = append(list, object{"name": "url", "value": "hidden"})
		}
	}
	reply(w, 200, list)
}

func (s *Sim) provisioned(w http.ResponseWriter, _ *http.Request, x *addon) {
	if x.State == "provisioning" {
		x.State = "provisioned"
		x.App.Version++
	}
	reply(w, 200, s.addonJSON(x))
}

func (s *Sim) createAttachment(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Addon, App      struct{ Name string }
		Name, Namespace string
	}
	if !decode(r, &in) {
		fail(w, 422, "invalid_params", "addon and app are required")
		return
	}
	x, a := s.findAddon(in.Addon.Name, ""), s.findApp(in.App.Name)
	if x == nil || a == nil {
		missing(w, "add_on")
		return
	}
	if d := s.databases[x.Name]; d != nil {
		if _, ok := d.url(in.Namespace); !ok {
			fail(w, 422, "invalid_params", "There is no such credential.")
			return
		}
	}
	for _, t := range s.attachments {
		if t.App == a && t.Name == in.Name {
			fail(w, 422, "invalid_params", "Name is already taken on this app.")
			return
		}
	}
	reply(w, 201, s.attachmentJSON(s.attach(x, a, in.Name, in.Namespace)))
}

func (s *Sim) detach(w http.ResponseWriter, r *http.Request) {
	for i, t := range s.attachments {
		if t.ID == chi.URLParam(r, "id") {
			s.attachments = append(s.attachments[:i:i], s.attachments[i+1:]...)
			t.App.Version++
			reply(w, 200, s.attachmentJSON(t))
			return
		}
	}
	missing(w, "add_on attachment")
}

func (s *Sim) resolveAttachment(w http.ResponseWriter, r *http.Request, p principal) {
	var in struct {
		Attachment string `json:"addon_attachment"`
		App        string
	}
	if !decode(r, &in) {
		missing(w, "add_on attachment")
		return
	}
	want := strings.TrimSuffix(in.Attachment, "_URL")
	list := []object{}
	for _, t := range s.attachments {
		if !s.sees(p, t.App) || in.App != "" && t.App.Name != in.App {
			continue
		}
		if t.Name == want || t.Name == strings.ToUpper(want) || t.ID == in.Attachment || t.Addon.Name == in.Attachment {
			list = append(list, s.attachmentJSON(t))
		}
	}
	if len(list) == 0 {
		missing(w, "add_on attachment")
		return
	}
	reply(w, 200, list)
}

func (s *Sim) resolveAddon(w http.ResponseWriter, r *http.Request, p principal) {
	var in struct{ Addon, App string }
	if !decode(r, &in) {
		missing(w, "add_on")
		return
	}
	x := s.findAddon(in.Addon, in.App)
	if x == nil || !s.sees(p, x.App) || in.App != "" && x.App.Name != in.App {
		missing(w, "add_on")
		return
	}
	reply(w, 200, []object{s.addonJSON(x)})
}
