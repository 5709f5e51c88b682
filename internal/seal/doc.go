// Package seal encrypts what we store to a resource's own key, its customer's keys, or both, in the age format, and
// opens it at any offset.
//
// The format is public (https://c2sp.org/age): whoever holds the key reads a sealed file with the age command,
// without us. A file is an opening, which holds the file's own key wrapped for each recipient and a nonce, and
// then chunks of 64 KiB, each authenticated together with its position and with being the last one or not.
//
// # What is proved by what
//
// age authenticates no sender: anybody who knows a recipient can seal another file to it. So Writer takes the
// SHA-256 of the opening it wrote, the caller keeps that digest where it cannot be changed, and OpenAt refuses
// a file with another opening before it uses any of it. Nobody without the file's key can make a chunk that
// opens under that opening, so from there on every byte read, at any offset, is one that was written there, or
// an error. A file of one backup therefore never opens as another's, although both are sealed to one recipient.
package seal
