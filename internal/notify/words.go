package notify

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"

	"github.com/remora-backup/remora/internal/remora"
)

// Words are what a person reads of one event.
type Words struct {
	Subject string // one line
	What    string // what happened
	Act     string // who must act, and how
	Command string // the exact next command
	Link    string // the page about it
}

// about is what the words of an event can name.
type about struct {
	site     *Site
	resource remora.Resource
	news     remora.News
}

// words has every kind of event; a test asks for each.
var words = map[remora.EventKind]func(about) Words{
	remora.EventFirstSuccess: func(a about) Words {
		return Words{
			Subject: "First verified backup of " + a.database(),
			What:    "The first backup of " + a.database() + " was made, read back to its end, and verified. From now on it is backed up on its schedule.",
			Act:     "Nobody needs to act. Restore it once into an empty database while nothing is urgent: its page has the command.",
		}
	},
	remora.EventFailed: func(a about) Words {
		subject := "Backup of " + a.database() + " failed"
		if r := a.news.Event.Reason; r == remora.ReasonLeftOut || r == remora.ReasonUnexplainedOutput {
			subject = "Backup of " + a.database() + " is incomplete"
		}
		return Words{Subject: subject, What: a.sentence("The backup could not be made."), Act: a.actor("The backups before it are untouched. The next one is made on schedule, or at once from the page.")}
	},
	remora.EventCredentialProblem: func(a about) Words {
		w := Words{
			Subject: "The credential of " + a.database() + " cannot be used", What: a.sentence("We cannot log in to the database."),
			Act: "You need to act: no backup can be made until then. The backups before are untouched.", Command: a.mend(),
		}
		if a.news.Event.Database == "" {
			w.Subject = a.resource.Name + " cannot reach its databases"
		}
		return w
	},
	remora.EventPermissionGap: func(a about) Words {
		return Words{
			Subject: "The credential of " + a.database() + " needs other permissions", What: a.sentence("The credential may do too little, or too much."),
			Act: "You need to act: run the statements that the backup's page shows, as the database's owner, and back up again.", Command: a.psql(),
		}
	},
	remora.EventTwoCredentials: func(a about) Words {
		return Words{
			Subject: "Two credentials of " + a.database() + " are attached", What: a.detail("One of them is used."),
			Act:     "Detach the one that is not needed. Where the other is to be used, detach the one in use: from the next look on, some minutes later, we read with what is left.",
			Command: "heroku addons:attachments" + a.on(),
		}
	},
	remora.EventRecovered: func(a about) Words {
		w := Words{Subject: "Backups of " + a.database() + " work again", What: "A backup of " + a.database() + " was made and verified, after it had failed.", Act: nobody}
		if a.news.Event.Database == "" {
			w.Subject, w.What = a.resource.Name+" reaches its databases again", "What kept us from the Helper App is over."
		}
		return w
	},
	remora.EventLate: func(a about) Words {
		return Words{
			Subject: "The backup of " + a.database() + " is late", What: a.detail("There is no verified backup as fresh as the schedule promises."),
			Act: "Look at the database's page: it says what the last backup waited for or failed by. Where it says that we must act, we have been told.",
		}
	},
	remora.EventStale: func(a about) Words {
		return Words{
			Subject: "The backup of " + a.database() + " is stale", What: a.detail("There has been no verified backup for longer than the schedule promises twice over."),
			Act: "Look at the database's page today: it says what the last backup waited for or failed by. Until this ends, a restore brings back old data.",
		}
	},
	remora.EventProofOverdue: func(a about) Words {
		return Words{
			Subject: "A proof of " + a.database() + " is overdue", What: a.detail("A backup was to be restored and compared, or read again, and was not."),
			Act: "We need to act, and have been told. New backups are made and verified meanwhile; what is overdue is the look at what is stored.",
		}
	},
	remora.EventProofCaughtUp: func(a about) Words {
		return Words{Subject: "The proofs of " + a.database() + " are up to date again", What: "What was overdue has been looked at.", Act: nobody}
	},
	remora.EventFreshAgain: func(a about) Words {
		return Words{Subject: "The backup of " + a.database() + " is fresh again", What: a.detail("There is a verified backup as fresh as the schedule promises."), Act: nobody}
	},
	remora.EventProofFailed: func(a about) Words {
		return Words{
			Subject: "A backup of " + a.database() + " did not stand its proof", What: a.sentence("What is stored is not what was read."),
			Act: a.actor("Count on another backup until this is explained: the pages say which are proven."),
		}
	},
	remora.EventCopyFailed: func(a about) Words {
		return Words{
			Subject: "A backup of " + a.database() + " was not copied to your bucket", What: a.detail("The backup is kept in our bucket, and was not copied to yours."),
			Act: "You need to act if it says so: then ask for the copy again, on the backup's page. The next backup is copied in any case.",
		}
	},
	remora.EventLockGaveWay: func(a about) Words {
		return Words{
			Subject: "The backup of " + a.database() + " gave way to your session",
			What:    a.detail("A session of yours waited for a lock that reading the table holds, so we broke the backup off to let it through."),
			Act:     "Nobody needs to act: we try again by ourselves. Migrations at another hour than the backup avoid it.",
		}
	},
	remora.EventLimitNear: func(a about) Words {
		return Words{
			Subject: "The plan of " + a.resource.Name + " is near its limit", What: a.detail("What the plan allows is nearly used, or used."),
			Act: "You need to act, or what is over the limit is not backed up: choose a larger plan, or make room as the page says.", Command: a.upgrade(),
		}
	},
	remora.EventPlanShrinks: func(a about) Words {
		return Words{
			Subject: "The smaller plan of " + a.resource.Name + " will take something away", What: a.detail("More is in use than the new plan allows. It stays for a while."),
			Act: "You need to act if you want to keep it: choose a larger plan, or download what is to go.", Command: a.upgrade(),
		}
	},
	remora.EventRetentionPending: func(a about) Words {
		return Words{
			Subject: "Backups of " + a.database() + " will be removed", What: a.detail("A changed setting removes backups. Nothing is removed for 24 hours."),
			Act: "If that is not meant, change the setting back or lock what must stay, on the database's page.",
		}
	},
	remora.EventPaused: func(a about) Words {
		return Words{
			Subject: "Backups of " + a.database() + " are paused", What: "Nobody is backing up " + a.database() + " until the schedule is resumed." + a.by(),
			Act: "If that is not meant, resume the schedule on the database's page.",
		}
	},
	remora.EventResumed: func(a about) Words {
		return Words{Subject: "Backups of " + a.database() + " are resumed", What: a.database() + " is backed up on its schedule again." + a.by(), Act: nobody}
	},
	remora.EventLinkMade: func(a about) Words {
		return Words{
			Subject: "A download link for a backup of " + a.database() + " was made", What: "Whoever has the link can download the whole backup until it expires." + a.by(),
			Act: "If it was nobody of yours, revoke the link on the backup's page at once.",
		}
	},
	remora.EventKeysChanged: func(a about) Words {
		return Words{
			Subject: "Who can open the archives of " + a.resource.Name + " has changed", What: a.detail("Somebody has changed whose keys open the archives, or has taken the add-on's own key."),
			Act: "If it was nobody of yours, set the keys back on the page Settings, Keys at once, and see in the audit log who it was.",
		}
	},
	remora.EventStoreChanged: func(a about) Words {
		return Words{
			Subject: "Where the archives of " + a.resource.Name + " lie has changed", What: a.detail("Somebody has changed in which bucket archives are kept, or its keys."),
			Act: "If it was nobody of yours, set it back on the page Settings, Storage at once, and see in the audit log who it was.",
		}
	},
	remora.EventServerKey: func(a about) Words {
		return Words{
			Subject: "The server of " + a.database() + " shows another key", What: a.detail("The server shows a certificate with another key than before, at the same address."),
			Act: "Backups go on, for whoever answers there knows the credential. Most likely it is maintenance of Heroku's: if you can tell, say so on the database's page, or else rotate the credential.", Command: a.rotate(),
		}
	},
	remora.EventDeprovisioned: func(a about) Words {
		return Words{
			Subject: a.resource.Name + " was removed", What: "The add-on was removed from " + cmp.Or(a.resource.HelperApp, "its app") + ". No backup is made any more, and download links have ended. What is stored goes: within a day nobody can open it, within 30 days nothing is left. The receipt says when each step was done.",
			Act: "If that is not meant, create it again and attach the credentials: the databases are backed up anew. Whoever needs the old backups writes to us today.", Command: a.create(), Link: a.receiptPage(),
		}
	},
}

// receiptPage is where the receipt is, or our front page where a removal has none.
func (a about) receiptPage() string {
	if a.news.Receipt.IsZero() {
		return a.site.BaseURL + "/"
	}
	return a.site.BaseURL + "/receipts/" + a.news.Receipt.Reveal()
}

const nobody = "Nobody needs to act."

// wordsOf are the words of one event, whole: what a kind leaves out is found here.
func wordsOf(a about) Words {
	of, known := words[a.news.Event.Kind]
	if !known { // of a later release
		of = func(a about) Words {
			return Words{Subject: string(a.news.Event.Kind) + ": " + a.database(), What: a.detail(string(a.news.Event.Kind)), Act: "The page says more."}
		}
	}
	w := of(a)
	if n := a.news.Held; n > 0 {
		w.What += fmt.Sprintf(" It has happened %s more since the last message about it.", times(n))
	}
	w.Command = cmp.Or(w.Command, a.open())
	w.Link = cmp.Or(w.Link, a.page())
	w.Subject, w.What, w.Act, w.Command = line(w.Subject), line(w.What), line(w.Act), line(w.Command)
	return w
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// database is its name for people.
func (a about) database() string {
	switch {
	case a.news.Addon == "":
		return a.resource.Name
	case a.news.OwnerApp == "":
		return a.news.Addon
	}
	return a.news.Addon + " (" + a.news.OwnerApp + ")"
}

// sentence is the reason's, else the event's own words.
func (a about) sentence(otherwise string) string {
	if r := a.news.Event.Reason; r != remora.ReasonNone {
		return r.Sentence()
	}
	return a.detail(otherwise)
}

func (a about) detail(otherwise string) string { return cmp.Or(a.news.Event.Detail, otherwise) }

// by names the person whom the event's detail names.
func (a about) by() string {
	if a.news.Event.Detail == "" {
		return ""
	}
	return " By " + a.news.Event.Detail + "."
}

func (a about) actor(after string) string {
	switch a.news.Event.Reason.Actor() {
	case remora.ActorCustomer:
		return "You need to act: the page says how. " + after
	case remora.ActorUs:
		return "We need to act, and have been told. " + after
	case remora.ActorNobody:
	}
	return nobody + " " + after
}

func (a about) page() string {
	switch e := a.news.Event; {
	case e.Backup != "":
		return a.site.BaseURL + a.site.Home + "/backups/" + string(e.Backup)
	case e.Database != "" && (e.Kind == remora.EventPaused || e.Kind == remora.EventResumed):
		return a.site.BaseURL + a.site.Home + "/databases/" + string(e.Database) + "#schedule"
	case e.Database != "":
		return a.site.BaseURL + a.site.Home + "/databases/" + string(e.Database)
	default:
		return a.site.BaseURL + a.site.Home
	}
}

// on is the -a of a command about the Helper App.
func (a about) on() string { return " -a " + cmp.Or(a.resource.HelperApp, "HELPER_APP") }

func (a about) open() string { return "heroku addons:open " + a.resource.Name + a.on() }

func (a about) create() string { return "heroku addons:create " + a.plan(a.resource.Plan) + a.on() }

func (a about) plan(slug string) string { return a.site.AddonID + ":" + slug }

// upgrade names the next larger plan, where there is one.
func (a about) upgrade() string {
	all := remora.Plans()
	for i, p := range all {
		if p.Slug == a.resource.Plan && i+1 < len(all) {
			return "heroku addons:upgrade " + a.resource.Name + " " + a.plan(all[i+1].Slug) + a.on()
		}
	}
	return ""
}

func (a about) ownerApp() string { return " -a " + cmp.Or(a.news.OwnerApp, "APP") }

func (a about) psql() string {
	if a.news.Addon == "" {
		return ""
	}
	return "heroku pg:psql " + a.news.Addon + a.ownerApp()
}

// rotate changes the credential's password; without a name that command would rotate the owner's own.
func (a about) rotate() string {
	if a.news.Addon == "" || a.news.Credential == "" {
		return ""
	}
	return "heroku pg:credentials:rotate " + a.news.Addon + " --name " + a.news.Credential + a.ownerApp()
}

// mend is the command that most likely ends a credential's problem.
func (a about) mend() string {
	n := a.news
	switch n.Event.Reason {
	case remora.ReasonNotShared:
		return "heroku access:add " + a.site.ServiceAccount + a.on()
	case remora.ReasonTokenRevoked:
		return a.open()
	case remora.ReasonLoginRefused, remora.ReasonWeakLogin:
		return cmp.Or(a.rotate(), a.open())
	case remora.ReasonDetached, remora.ReasonBadURL:
		if n.Addon != "" && n.Credential != "" {
			return "heroku addons:attach " + n.Addon + " --credential " + n.Credential + a.on()
		}
	}
	return a.open()
}

// line makes a text of names and reasons that others gave fit for a header, a log line or a sentence: one line, whose
// direction nothing in it turns.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}
