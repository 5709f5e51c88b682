package remora

import "time"

// Counted is how many of something are in a state.
type Counted struct {
	What, State string
	N           int64
}

// ServiceView is how the service stands, for its operator.
type ServiceView struct {
	Now       time.Time
	Resources []Counted   // by plan and state
	Databases []Counted   // by freshness; detached ones are left out
	Jobs      []Counted   // by kind and state, of those that are not done
	Backups   []Counted   // asked for within the last day, by reason and state
	Stuck     []StuckRun  // the oldest first
	Hold      Hold        // whether nothing is deleted
	Undeleted []Undeleted // the one that is due for longest first
}

// StuckRun is a run whose lease has ended, or that takes much longer than usual.
type StuckRun struct {
	Resource   ResourceID
	Backup     BackupID
	Worker     string
	State      RunState
	StartedAt  time.Time
	LeaseUntil time.Time
	Usual      time.Duration // how long the database's last good backup took; 0 where there is none
}

// Undeleted is an expired backup that should be deleted and is not.
type Undeleted struct {
	Resource ResourceID
	Backup   BackupID
	DueAt    time.Time
	Attempts int
}

// TenantView is what an operator may see of an add-on.
type TenantView struct {
	Now       time.Time
	Resource  Resource
	Databases []TenantDatabase
	Backups   []Backup // the newest; without what pg_dump said, and without names
}

// TenantDatabase is a database without its name.
type TenantDatabase struct {
	ID            DatabaseID
	State         DatabaseState
	Fresh         string // empty where nobody watches it
	ServerVersion string
	SizeBytes     int64
	SeenAt        time.Time
	Held          Holding
}
