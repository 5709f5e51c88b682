// Package herokusim is a Heroku to develop and test against: a program that speaks the protocols of Heroku's
// Platform API, Data API, OAuth and add-on single sign-on, and calls an add-on provider as Heroku does. The
// real Heroku CLI works with it. Its Postgres databases are real ones, on servers it is given.
//
// It imports nothing of the product and shares no type with it, so that a wrong field name copied to both
// sides cannot pass a test.
//
// Where it departs from Heroku: it serves http on loopback; one provider; no teams; an app's owner may do
// everything and a collaborator may read; prices, formation and dynos are left out.
//
// Sources: https://devcenter.heroku.com/articles/platform-api-reference, …/add-on-partner-api-reference,
// …/add-on-single-sign-on, …/heroku-postgresql-credentials, and the Heroku CLI's own sources for the calls
// that are not documented.
package herokusim
