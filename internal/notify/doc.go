// Package notify tells customers what happened: it finds the words, and sends them by e-mail, webhook, Slack and the
// Helper App's own log on Heroku.
//
// A message is sent as a whole or not; what went wrong is a *Failure, which says whether trying again can help. Addresses
// that customers name are reached through the policy of internal/dialer alone. What another side answers is read to a
// limit and never shown: only its status is.
package notify
