package herokuapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/remora-backup/remora/internal/redact"
)

// App names an app.
type App struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Addon is one installed add-on.
type Addon struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state"`
	App   App    `json:"app"` // the billing app, where it was created
	Plan  Plan   `json:"plan"`
}

// Plan names an add-on's service and plan, as heroku-postgresql:standard-0.
type Plan struct {
	Name string `json:"name"`
}

// Attachment is an add-on seen from an app.
type Attachment struct {
	ID        string `json:"id"`
	Name      string `json:"name"` // the prefix of its config vars
	Namespace string `json:"namespace"`
	Addon     Addon  `json:"addon"`
	App       App    `json:"app"`
	// LogInput is where the app's log takes lines of this add-on. Heroku shows it to the add-on's provider.
	LogInput redact.Secret `json:"log_input_url"`
}

const credentialNamespace = "credential:"

// ownersCredential is what the Postgres owner's own credential is called where it is named at all, as
// heroku pg:credentials does (https://devcenter.heroku.com/articles/heroku-postgresql-credentials).
const ownersCredential = "default"

// Credential is the name of the Postgres credential that the attachment carries, or "" for the owner's own.
func (a Attachment) Credential() string {
	name, ok := strings.CutPrefix(a.Namespace, credentialNamespace)
	if !ok || strings.EqualFold(strings.TrimSpace(name), ownersCredential) {
		return ""
	}
	return name
}

// postgres is the service of Heroku's own Postgres, the only one that has credentials to attach.
const postgres = "heroku-postgresql"

// Postgres tells whether what is attached is a Heroku Postgres database. Where Heroku has not named the plan, what only
// a database has decides: a credential, or the name that Heroku gives to databases.
func (a Attachment) Postgres() bool {
	if service, _, named := strings.Cut(a.Addon.Plan.Name, ":"); named {
		return service == postgres
	}
	return strings.HasPrefix(a.Namespace, credentialNamespace) || strings.HasPrefix(a.Addon.Name, "postgresql-")
}

// Addon returns the resource's own add-on.
func (c *Client) Addon(ctx context.Context, token redact.Secret, id string) (Addon, error) {
	var out Addon
	_, err := c.do(ctx, call{method: http.MethodGet, name: "/addons/:id", path: "/addons/" + url.PathEscape(id), token: token}, &out)
	return out, err
}

// maxPages bounds a list; Heroku pages by 200 and allows an app far fewer attachments.
const maxPages = 20

// Attachments lists everything attached to an app.
func (c *Client) Attachments(ctx context.Context, token redact.Secret, app string) ([]Attachment, error) {
	var all []Attachment
	page := ""
	for range maxPages {
		var some []Attachment
		next, err := c.do(ctx, call{
			method: http.MethodGet, name: "/apps/:id/addon-attachments", path: "/apps/" + url.PathEscape(app) + "/addon-attachments",
			token: token, pageRange: page,
			include: "addon:plan", // as the Heroku CLI asks for it
		}, &some)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if next == "" {
			return all, nil
		}
		page = next
	}
	return all, nil
}

// ConfigVars reads an app's config vars. The values are what the product exists not to keep: use the one that
// is needed and let the map go.
func (c *Client) ConfigVars(ctx context.Context, token redact.Secret, app string) (map[string]redact.Secret, error) {
	out := map[string]redact.Secret{}
	_, err := c.do(ctx, call{method: http.MethodGet, name: "/apps/:id/config-vars", path: "/apps/" + url.PathEscape(app) + "/config-vars", token: token}, &out)
	return out, err
}

// SetConfig sets one of the resource's own config vars, as the manifest declares them.
func (c *Client) SetConfig(ctx context.Context, token redact.Secret, id, name, value string) error {
	type pair struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	body := map[string][]pair{"config": {{name, value}}}
	_, err := c.do(ctx, call{method: http.MethodPatch, name: "/addons/:id/config", path: "/addons/" + url.PathEscape(id) + "/config", token: token, body: body}, nil)
	return err
}

// Provisioned ends an asynchronous provision: Heroku restarts the app with the add-on in place. Telling it
// again is no error.
// (https://devcenter.heroku.com/articles/getting-started-with-asynchronous-provisioning)
func (c *Client) Provisioned(ctx context.Context, token redact.Secret, id string) error {
	_, err := c.do(ctx, call{method: http.MethodPost, name: "/addons/:id/actions/provision", path: "/addons/" + url.PathEscape(id) + "/actions/provision", token: token}, nil)
	return err
}

// Account returns the e-mail address of the account that a token belongs to.
func (c *Client) Account(ctx context.Context, token redact.Secret) (string, error) {
	var out struct {
		Email string `json:"email"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, name: "/account", path: "/account", token: token}, &out)
	return out.Email, err
}
