package remora

// InventoryKind is how many objects of one kind a database has. SHA256, in hexadecimal, is of their sorted identities, so
// that two databases have the same objects of the kind where it is equal.
type InventoryKind struct {
	Kind   string `json:"kind"`
	Count  int64  `json:"count"`
	SHA256 string `json:"sha256"`
}

// Inventory is what objects a database has, without those of extensions, of Heroku, and what no dump contains.
type Inventory []InventoryKind
