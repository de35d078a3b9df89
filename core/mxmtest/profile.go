package mxmtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Profile describes the policies of a server, as the command mxm probe finds
// them, and is kept as JSON. The fields are those of [Settings]. What is nil is
// not known.
type Profile struct {
	Note string `json:"note,omitempty"` // for people

	CodeLifetime        *Duration    `json:"code_lifetime,omitempty"`
	AccessLifetime      *Duration    `json:"access_lifetime,omitempty"`
	RefreshLifetime     *Duration    `json:"refresh_lifetime,omitempty"`
	Reuse               *ReusePolicy `json:"reuse,omitempty"` // revoke_family or plain
	Grace               *Duration    `json:"grace,omitempty"`
	GraceAnswer         *GraceAnswer `json:"grace_answer,omitempty"` // same_pair, new_pair or another_pair
	LoserInvalidRequest *bool        `json:"loser_invalid_request,omitempty"`
	Kill                *KillScope   `json:"kill,omitempty"` // login, user or none
	NoRotation          *bool        `json:"no_rotation,omitempty"`
	SingleLogin         *bool        `json:"single_login,omitempty"`
	Issuer              *bool        `json:"issuer,omitempty"`
	Revocation          *bool        `json:"revocation,omitempty"`
	BirthLag            *Duration    `json:"birth_lag,omitempty"`
	DeathLag            *Duration    `json:"death_lag,omitempty"`
	DateSkew            *Duration    `json:"date_skew,omitempty"`
	NoDate              *bool        `json:"no_date,omitempty"`
	MetadataAuth        *bool        `json:"metadata_auth,omitempty"`
	MetadataCalls       *int         `json:"metadata_calls,omitempty"`
	MetadataWindow      *Duration    `json:"metadata_window,omitempty"`
	NoExpiresIn         *bool        `json:"no_expires_in,omitempty"`
	ForgetsCut          *bool        `json:"forgets_cut,omitempty"`
}

// ParseProfile reads a profile. A member that it does not know is an error.
func ParseProfile(text []byte) (Profile, error) {
	var p Profile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&p)
	if _, more := d.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("there is more after its end")
	}
	if err != nil {
		return Profile{}, fmt.Errorf("mxmtest: the profile is not usable: %w", err)
	}
	return p, nil
}

// Apply changes the settings that the profile knows, from the next request on.
func (s *Server) Apply(p Profile) { s.Configure(p.Configure) }

// Configure changes the settings that the profile knows.
func (p Profile) Configure(s *Settings) {
	set(&s.CodeLifetime, p.CodeLifetime.std())
	set(&s.AccessLifetime, p.AccessLifetime.std())
	set(&s.RefreshLifetime, p.RefreshLifetime.std())
	set(&s.Reuse, p.Reuse)
	set(&s.Grace, p.Grace.std())
	set(&s.GraceAnswer, p.GraceAnswer)
	set(&s.LoserInvalidRequest, p.LoserInvalidRequest)
	set(&s.Kill, p.Kill)
	set(&s.NoRotation, p.NoRotation)
	set(&s.SingleLogin, p.SingleLogin)
	set(&s.Issuer, p.Issuer)
	set(&s.Revocation, p.Revocation)
	set(&s.BirthLag, p.BirthLag.std())
	set(&s.DeathLag, p.DeathLag.std())
	set(&s.DateSkew, p.DateSkew.std())
	set(&s.NoDate, p.NoDate)
	set(&s.MetadataAuth, p.MetadataAuth)
	set(&s.MetadataCalls, p.MetadataCalls)
	set(&s.MetadataWindow, p.MetadataWindow.std())
	set(&s.NoExpiresIn, p.NoExpiresIn)
	set(&s.ForgetsCut, p.ForgetsCut)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// Duration is a time.Duration that JSON keeps as text, such as "1m30s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

func (d *Duration) std() *time.Duration { return (*time.Duration)(d) }

var (
	reuseWords = []string{"revoke_family", "plain"}
	graceWords = []string{"same_pair", "new_pair", "another_pair"}
	killWords  = []string{"login", "user", "none"}
)

// MarshalText implements encoding.TextMarshaler.
func (p ReusePolicy) MarshalText() ([]byte, error) { return []byte(reuseWords[p]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *ReusePolicy) UnmarshalText(text []byte) error { return choose(p, reuseWords, text) }

// MarshalText implements encoding.TextMarshaler.
func (g GraceAnswer) MarshalText() ([]byte, error) { return []byte(graceWords[g]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *GraceAnswer) UnmarshalText(text []byte) error { return choose(g, graceWords, text) }

// MarshalText implements encoding.TextMarshaler.
func (k KillScope) MarshalText() ([]byte, error) { return []byte(killWords[k]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *KillScope) UnmarshalText(text []byte) error { return choose(k, killWords, text) }

func choose[T ~int](to *T, words []string, text []byte) error {
	i := slices.Index(words, string(text))
	if i < 0 {
		return fmt.Errorf("%q is not one of %q", text, words)
	}
	*to = T(i)
	return nil
}
