package partnerapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/remora-backup/remora/internal/remora"
)

// Where Heroku calls us. The manifest tells it, and the routes answer there.
const (
	resourcesPath = "/heroku/resources"
	signOnPath    = "/heroku/sso"
)

// Offer is what Heroku is told of the add-on.
type Offer struct {
	ID        string   // the manifest's id: a lower-case slug that cannot be changed later
	PublicURL string   // how Heroku reaches us, by https
	Regions   []string // names from Heroku's list of regions; "us" or "*" is among them
}

// manifest is Heroku's format (https://devcenter.heroku.com/articles/add-on-manifest). Plans and prices are not in it: the
// partner portal has them.
type manifest struct {
	ID   string      `json:"id"`
	Name string      `json:"name"`
	API  manifestAPI `json:"api"`
}

type manifestAPI struct {
	Version          string    `json:"version"` // of the Partner API
	ConfigVarsPrefix string    `json:"config_vars_prefix"`
	ConfigVars       []string  `json:"config_vars"`
	Password         string    `json:"password"`
	SSOSalt          string    `json:"sso_salt"`
	Regions          []string  `json:"regions"`
	Requires         []string  `json:"requires"`
	Production       addresses `json:"production"`
}

type addresses struct {
	BaseURL string `json:"base_url"`
	SSOURL  string `json:"sso_url"`
}

// WriteManifest writes the add-on's manifest as JSON. The two secrets stand in it by the names of our settings, as
// $ADDON_PASSWORD and $SSO_SALT, so that the file can be kept and shown. Its error says which setting Heroku would refuse.
func (o Offer) WriteManifest(to io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	out := json.NewEncoder(to)
	out.SetIndent("", "  ")
	return out.Encode(manifest{
		ID: o.ID, Name: "Remora Backup",
		API: manifestAPI{
			Version: "3", ConfigVarsPrefix: strings.TrimSuffix(remora.ConfigVar, "_ID"), ConfigVars: []string{remora.ConfigVar},
			Password: "$ADDON_PASSWORD", SSOSalt: "$SSO_SALT", Regions: o.Regions,
			Requires:   []string{"log_input"}, // a provision then has log_input_url, by which news gets into the customer's log
			Production: addresses{BaseURL: o.PublicURL + resourcesPath, SSOURL: o.PublicURL + signOnPath},
		},
	})
}

func (o Offer) check() error {
	var errs []error
	if strings.Trim(o.ID, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(o.ID, "-") != o.ID || o.ID == "" {
		errs = append(errs, errors.New("ADDON_ID must be of lower-case letters, digits and hyphens"))
	}
	if !strings.HasPrefix(o.PublicURL, "https://") {
		errs = append(errs, errors.New("PUBLIC_URL must begin with https://: Heroku calls no other address"))
	}
	if !slices.Contains(o.Regions, "us") && !slices.Contains(o.Regions, "*") {
		errs = append(errs, errors.New("ADDON_REGIONS must hold us, or *"))
	}
	return errors.Join(errs...)
}

// WritePlans writes what the partner portal must be given of each plan, as a table for people.
func WritePlans(to io.Writer) error {
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0) // its Flush tells what went wrong
	_, _ = fmt.Fprintln(out, "SLUG\tNAME\tUSD A MONTH\tDATABASES\tBACKUPS\tKEPT\tSTORED\tLARGEST DATABASE\tRESTORED AND COMPARED")
	for _, p := range remora.Plans() {
		price := fmt.Sprintf("%d.%02d", p.PriceCents/100, p.PriceCents%100)
		if p.PriceCents == 0 {
			price = "free"
		}
		_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%d\tevery %s\t%d days\t%s\t%s\tevery %s\n", p.Slug, p.Name, price, p.Databases,
			remora.Every(p.MinInterval), p.KeepDays, remora.Bytes(p.StoredBytes), remora.Bytes(p.LargestDatabase), remora.Every(p.ProveEvery))
	}
	return out.Flush()
}
