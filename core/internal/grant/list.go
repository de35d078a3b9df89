package grant

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
)

// Lister is a [Store] that can list its keys; see core.GrantLister.
type Lister interface {
	ListGrants(ctx context.Context, cursor string, limit int) (keys []string, next string, err error)
}

// ErrCannotList is the error where the store has no [Lister].
var ErrCannotList = errors.New("this GrantStore cannot list what it holds: it is no GrantLister")

// pageSize is how many records are read between two questions to the lister.
const pageSize = 200

// Info is what is known of a grant without asking the server.
type Info struct {
	Sub                      string
	Live, Lost               bool // neither: there is none
	Reason                   string
	Scope                    string
	Connected, Issued, Since time.Time
}

func infoOf(gr grant) Info {
	return Info{
		Sub: gr.Sub, Live: gr.Status == statusLive, Lost: gr.Status == statusReconnect,
		Reason: gr.Reason, Scope: gr.Scope, Connected: gr.Connected, Issued: gr.Issued, Since: gr.Since,
	}
}

// Info returns what is stored of sub's grant, by one read of the store.
func (m *Manager) Info(ctx context.Context, sub string) (Info, error) {
	gr, _, found, err := m.records.find(ctx, sub)
	if err != nil {
		return Info{}, unavailable(err)
	}
	if !found || gr.Status == statusDisconnected {
		return Info{Sub: sub}, nil
	}
	return infoOf(gr), nil
}

// All returns the grants of this client at this server, those that are alive and
// those that are lost. A record that does not open yields an error, and the next
// one follows; an error of the store ends it. A grant may come twice.
func (m *Manager) All(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for page, err := range m.records.pages(ctx, "") {
			if err != nil {
				yield(Info{}, unavailable(err))
				return
			}
			for _, key := range page.keys {
				rec, found, err := m.records.load(ctx, key)
				if err != nil {
					yield(Info{}, unavailable(err))
					return
				}
				if !found {
					continue
				}
				gr, err := m.records.openAny(key, rec)
				switch {
				case errors.Is(err, errElsewhere), err == nil && !gr.isUser():
				case err != nil:
					if !yield(Info{}, unavailable(err)) {
						return
					}
				default:
					if !yield(infoOf(gr), nil) {
						return
					}
				}
			}
		}
	}
}

// isUser reports whether gr is a user's grant that is alive or lost.
func (gr grant) isUser() bool {
	return !isImport(gr.Sub) && (gr.Status == statusLive || gr.Status == statusReconnect)
}

// page is one page of the keys at which there may be a grant.
type page struct {
	keys []string
	next string // the cursor of the page after it; "": there is none
}

// pages lists the store from cursor on.
func (g *records) pages(ctx context.Context, cursor string) iter.Seq2[page, error] {
	return func(yield func(page, error) bool) {
		for {
			p, err := g.page(ctx, cursor)
			if !yield(p, err) || err != nil || p.next == "" {
				return
			}
			cursor = p.next
		}
	}
}

func (g *records) page(ctx context.Context, cursor string) (p page, err error) {
	defer recovery.Catch(&err)
	if g.lister == nil {
		return page{}, ErrCannotList
	}
	keys, next, err := g.lister.ListGrants(ctx, cursor, pageSize)
	for _, key := range keys {
		if strings.HasPrefix(key, keyPrefix) {
			p.keys = append(p.keys, key)
		}
	}
	p.next = next
	return p, err
}
