package placement

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/objectstore"
)

// comesBack tells whether asking the same again later can help without anybody changing anything.
func comesBack(err error) bool {
	var e *objectstore.Error
	var refused *dialer.RefusedError
	if !errors.As(err, &e) || errors.As(err, &refused) || badCertificate(err) || errors.Is(err, dialer.ErrPlainHTTP) || errors.Is(err, dialer.ErrNotFound) {
		return false
	}
	if errors.Is(err, objectstore.ErrDenied) || errors.Is(err, objectstore.ErrFull) { // though other parts were cut off for it
		return false
	}
	switch e.Code {
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "NoSuchBucket", "NotImplemented":
		return false
	}
	return e.Status == 0 || e.Status == 429 || e.Status >= 500 && e.Status != 501 && e.Status != 507 || errors.Is(err, objectstore.ErrMismatch)
}

// badCertificate tells whether a store's certificate was not taken, for whatever reason: an authority, a name, a date.
func badCertificate(err error) bool {
	var unverified *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	return errors.As(err, &unverified) || errors.As(err, &unknown) || errors.As(err, &host)
}

// asked are S3's operations in the words of a policy.
var asked = map[string]string{
	"PutObject": "write an object (s3:PutObject)", "CreateMultipartUpload": "write an object (s3:PutObject)", "UploadPart": "write an object (s3:PutObject)",
	"CompleteMultipartUpload": "write an object (s3:PutObject)", "GetObject": "read an object (s3:GetObject)", "HeadObject": "read an object (s3:GetObject)",
	"DeleteObject": "delete an object (s3:DeleteObject)", "ListObjectsV2": "list what is below the prefix (s3:ListBucket)",
	"AbortMultipartUpload": "abort an upload (s3:AbortMultipartUpload)", "ListMultipartUploads": "list unfinished uploads (s3:ListBucketMultipartUploads)",
}

// words say what is wrong with a customer's store, and never hold a secret, an address or the store's own prose.
func words(err error) string {
	var e *objectstore.Error
	var refused *dialer.RefusedError
	switch {
	case errors.As(err, &refused):
		return "The endpoint's host is not a public address, so we do not connect to it."
	case errors.Is(err, dialer.ErrPlainHTTP):
		return "The endpoint must begin with https://."
	case errors.Is(err, dialer.ErrNotFound):
		return "The endpoint's host has no address. Is it spelt right?"
	case badCertificate(err):
		return "The endpoint's certificate is not one for its host from an authority that is commonly known, or is out of date."
	case !errors.As(err, &e):
		return "It could not be asked."
	}
	switch e.Code {
	case "NoSuchBucket":
		return "There is no bucket of this name at this endpoint."
	case "InvalidAccessKeyId":
		return "The store does not know the access key. Was it revoked, or is it one of another provider?"
	case "SignatureDoesNotMatch":
		return "The secret key does not belong to the access key, or was not copied whole."
	case "RequestTimeTooSkewed":
		return "The store's clock and ours differ by more than it allows."
	case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return "The bucket is in another region, or belongs to another endpoint, than was given."
	case "NotImplemented":
		return "The store does not know a request that we need: " + asked[e.Op] + "."
	}
	switch {
	case errors.Is(err, objectstore.ErrDenied):
		return "The key may not " + asked[e.Op] + "."
	case errors.Is(err, objectstore.ErrFull):
		return "The store has no room left, or the bucket's quota is used up."
	case errors.Is(err, objectstore.ErrExists):
		return "An object of this name is there already, which nobody but us should have written."
	case errors.Is(err, objectstore.ErrNotFound) && (e.Op == "PutObject" || e.Op == "CreateMultipartUpload"):
		return "There is no S3 store at this endpoint: it does not know where to write."
	case errors.Is(err, objectstore.ErrNotFound):
		return "What was written is not there any more."
	case errors.Is(err, objectstore.ErrMismatch):
		return "The store does not hold what was sent to it."
	case errors.Is(err, objectstore.ErrRange):
		return "The store sends a whole object where a part of one is asked for (Range), so what lies in it can only be read from its start. Whatever stands in front of it must pass the Range header on."
	case e.Status/100 == 3:
		return "The endpoint sends us elsewhere, and we do not follow. The bucket is in another region, or belongs to another endpoint, than was given."
	case e.Status == 0:
		return "The store did not answer."
	case e.Status == 400 && (e.Op == "HeadObject" || e.Code == ""):
		return "The store did not understand the request. Is the region right, and the way in which the bucket is named in addresses?"
	case e.Code != "":
		return "The store refused to let us " + asked[e.Op] + ", and said: " + e.Code + "."
	}
	return "The store refused to let us " + asked[e.Op] + "."
}
