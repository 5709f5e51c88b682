package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Place is a bucket of your own.
type Place struct {
	Provider  string `json:"provider" doc:"Whose store it is, as far as the host's name tells."`
	Endpoint  string `json:"endpoint"`
	Region    string `json:"region"`
	Bucket    string `json:"bucket"`
	Prefix    string `json:"prefix,omitempty"`
	PathStyle bool   `json:"path_style"`
}

func placeOf(p remora.Place) Place {
	return Place{p.Provider(), p.Endpoint, p.Region, p.Bucket, p.Prefix, p.PathStyle}
}

// Bucket is a bucket of your own that backups lie in, or may.
type Bucket struct {
	ID string `json:"id"`
	Place
	AccessKey       string    `json:"access_key"`
	DeleteAccessKey string    `json:"delete_access_key,omitempty" doc:"Of the key that deletes; left out where the other one does."`
	InUse           bool      `json:"in_use" doc:"The next backup lies in it."`
	TakesCopies     bool      `json:"takes_copies" doc:"The next backup lies in ours, and, on a plan that has a second place, a copy of it here."`
	Backups         int       `json:"backups" doc:"That are listed and lie in it."`
	Copies          int       `json:"copies" doc:"Of backups that are listed, in it."`
	SetBy           string    `json:"set_by"`
	SetAt           time.Time `json:"set_at"`

	ObjectLock *BucketLock `json:"object_lock,omitempty" doc:"What the store said of it when the bucket was tried out; left out where it said nothing."`
}

// BucketLock is whether a bucket keeps what is written to it from being deleted or changed.
type BucketLock struct {
	State string `json:"state" enum:"off,nothing,compliance,governance" doc:"The mode in which it locks what is written; nothing where it is on and does not by itself."`
	Days  int    `json:"days,omitempty" doc:"For how long."`
	Says  string `json:"says" doc:"What that means."`
}

func bucketLockOf(l remora.BucketLock) *BucketLock {
	if l.State == remora.BucketLockUnknown {
		return nil
	}
	return &BucketLock{string(l.State), l.Days, l.Says()}
}

// Storage is where backups lie.
type Storage struct {
	Own     bool         `json:"own" doc:"New backups lie in a bucket of your own; else in ours."`
	Copies  bool         `json:"copies" doc:"New backups lie in ours, and, on a plan that has a second place, a copy of each in a bucket of your own."`
	Buckets List[Bucket] `json:"buckets" doc:"Of your own, the one that is in use or takes copies first."`
}

// StorageRequest is a bucket of your own that is to be used.
type StorageRequest struct {
	Endpoint        string `json:"endpoint" minLength:"1" maxLength:"250" doc:"https:// and a host."`
	Region          string `json:"region,omitempty" maxLength:"60"`
	Bucket          string `json:"bucket" minLength:"3" maxLength:"63"`
	Prefix          string `json:"prefix,omitempty" maxLength:"200"`
	PathStyle       bool   `json:"path_style,omitempty" doc:"The bucket comes after the host in addresses."`
	Copies          *bool  `json:"copies,omitempty" doc:"Backups lie in ours, and a copy of each in this bucket, on a plan that has a second place; where false, they lie in this one. Left out, a bucket that takes copies goes on with that, and any other is where backups lie."`
	AccessKey       string `json:"access_key" minLength:"1" maxLength:"200"`
	SecretKey       string `json:"secret_key" minLength:"1" maxLength:"200" doc:"It is kept sealed and shown to nobody."`
	DeleteAccessKey string `json:"delete_access_key,omitempty" maxLength:"200" doc:"Of another key that deletes, if you like."`
	DeleteSecretKey string `json:"delete_secret_key,omitempty" maxLength:"200"`
}

// StorageSet is what setting it came to.
type StorageSet struct {
	Storage
	WriterDeletes bool `json:"writer_deletes" doc:"The key that writes may delete too, although there is another one for that."`
}

func (a *API) storage(ctx context.Context, c caller) (out Storage, err error) {
	all, err := a.Store.Buckets(ctx, c.resource)
	out.Buckets = listOf(all, func(b remora.Bucket) Bucket {
		out.Own, out.Copies = out.Own || b.InUse, out.Copies || b.TakesCopies
		return Bucket{string(b.ID), placeOf(b.Place), b.AccessKey, b.DeleteAccessKey, b.InUse, b.TakesCopies, b.Backups, b.Copies, b.SetBy, b.SetAt, bucketLockOf(b.ObjectLock)}
	})
	return out, err
}

// takesCopies is whether a bucket is to take copies: as was asked for, or, where nothing was, as it does now. Nobody who gives other keys
// moves his backups by that.
func (a *API) takesCopies(ctx context.Context, id remora.ResourceID, p remora.Place, asked *bool) (bool, error) {
	if asked != nil {
		return *asked, nil
	}
	p, err := remora.ParsePlace(p)
	if err != nil {
		return false, err
	}
	all, err := a.Store.Buckets(ctx, id)
	return slices.ContainsFunc(all, func(b remora.Bucket) bool {
		return b.TakesCopies && b.Endpoint == p.Endpoint && b.Bucket == p.Bucket && b.Prefix == p.Prefix
	}), err
}

func (a *API) storageOperations(h huma.API) {
	type one struct{ Body Storage }
	add(h, a, huma.Operation{
		OperationID: "getStorage", Method: http.MethodGet, Path: "/storage", Tags: []string{tagOverview}, Summary: "Where backups lie",
	}, remora.ScopeRead, func(ctx context.Context, c caller, _ *empty) (*one, error) {
		out, err := a.storage(ctx, c)
		return &one{out}, err
	})

	type request struct{ Body StorageRequest }
	type set struct{ Body StorageSet }
	add(h, a, huma.Operation{
		OperationID: "setStorage", Method: http.MethodPut, Path: "/storage", Tags: []string{tagOverview}, Summary: "Use a bucket of your own", Metadata: opensAnArchive,
		Description: "It is tried out first, which takes some seconds: something is written, read and deleted, which in a bucket that keeps versions hides it. The next backup lies in it, and each after that, or, with copies, a copy of each; what was made before stays where it is. The same endpoint, bucket and prefix again changes the keys.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *request) (*set, error) {
		p := remora.Place{Endpoint: in.Body.Endpoint, Region: in.Body.Region, Bucket: in.Body.Bucket, Prefix: in.Body.Prefix, PathStyle: in.Body.PathStyle}
		keys := remora.BucketKeys{
			AccessKey: in.Body.AccessKey, SecretKey: redact.New(in.Body.SecretKey), DeleteAccessKey: in.Body.DeleteAccessKey, DeleteSecretKey: redact.New(in.Body.DeleteSecretKey),
		}
		copies, err := a.takesCopies(ctx, c.resource, p, in.Body.Copies)
		if err != nil {
			return nil, err
		}
		use := a.Store.SetBucket
		if copies {
			use = a.Store.SetSecondPlace
		}
		found, err := a.Probe(ctx, c.resource, p, keys)
		if err == nil {
			err = use(ctx, c.resource, p, keys, found.ObjectLock, c.person())
		}
		if err != nil {
			return nil, err
		}
		out, err := a.storage(ctx, c)
		return &set{StorageSet{out, found.WriterDeletes}}, err
	})
	add(h, a, huma.Operation{
		OperationID: "leaveStorage", Method: http.MethodDelete, Path: "/storage", Tags: []string{tagOverview}, Summary: "Use our bucket again, and it alone",
		Description: "What lies in your own stays there, and stays listed for as long as it is kept; what is copied too.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, _ *empty) (*empty, error) {
		return &empty{}, a.Store.LeaveBucket(ctx, c.resource, c.person())
	})
	type ofBucket struct {
		ID string `path:"bucket" doc:"The bucket's id."`
	}
	add(h, a, huma.Operation{
		OperationID: "removeBucket", Method: http.MethodDelete, Path: "/storage/{bucket}", Tags: []string{tagOverview}, Summary: "Forget the keys of a bucket of your own",
		Description: "Nothing in it is deleted. It is refused while new backups or copies lie in it, or any that is listed does.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *ofBucket) (*empty, error) {
		id, err := remora.KnownID[remora.BucketID](in.ID, "bucket")
		if err != nil {
			return nil, err
		}
		return &empty{}, a.Store.RemoveBucket(ctx, c.resource, id, c.person())
	})
}
