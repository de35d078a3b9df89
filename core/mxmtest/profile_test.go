package mxmtest_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// Whatever can be set can be kept in a profile: every field is set to something
// that is not its default, written, read, and applied.
func TestProfileHoldsEverySetting(t *testing.T) {
	want := mxmtest.DefaultSettings()
	var p mxmtest.Profile
	settings, profile := reflect.ValueOf(&want).Elem(), reflect.ValueOf(&p).Elem()
	for i := range settings.NumField() {
		name := settings.Type().Field(i).Name
		if name == "KeepRequests" { // about the fake, not about the server that it stands for
			continue
		}
		f := settings.Field(i)
		if f.Kind() == reflect.Bool {
			f.SetBool(true)
		} else {
			f.SetInt(f.Int() + 1)
		}
		known := profile.FieldByName(name)
		require.True(t, known.IsValid(), "Profile has no %s", name)
		value := reflect.New(known.Type().Elem())
		value.Elem().Set(f.Convert(known.Type().Elem()))
		known.Set(value)
	}
	text, err := json.Marshal(p)
	require.NoError(t, err)
	read, err := mxmtest.ParseProfile(text)
	require.NoError(t, err)

	srv := mxmtest.NewUnstarted("http://fake.example")
	srv.Apply(read)
	srv.Configure(func(got *mxmtest.Settings) { require.Equal(t, want, *got) })
}

func TestProfileLeavesWhatItDoesNotKnow(t *testing.T) {
	p, err := mxmtest.ParseProfile([]byte(`{"note": "measured today", "grace": "1m30s", "kill": "user"}`))
	require.NoError(t, err)
	got, want := mxmtest.DefaultSettings(), mxmtest.DefaultSettings()
	want.Grace, want.Kill = 90*time.Second, mxmtest.PerUser
	p.Configure(&got)
	require.Equal(t, want, got)
}

func TestProfileRefuses(t *testing.T) {
	for text, why := range map[string]string{
		``:                      "EOF",
		`{"grace": "soon"}`:     "soon",
		`{"kill": "everybody"}`: "everybody",
		`{"graces": "1s"}`:      "graces",
		`{"grace": 1}`:          "number",
		`{} {}`:                 "more after its end",
	} {
		_, err := mxmtest.ParseProfile([]byte(text))
		require.ErrorContains(t, err, "mxmtest: the profile is not usable: ", text)
		require.ErrorContains(t, err, why, text)
	}
}

// A test of an application replays what mxm probe has found.
func TestApply(t *testing.T) {
	srv := start(t)
	text := []byte(`{"note": "mxm probe of https://connect.musixmatch.com", "no_rotation": true}`)

	profile, err := mxmtest.ParseProfile(text)
	require.NoError(t, err)
	srv.Apply(profile)

	_, refresh := srv.granted(srv.refresh(srv.Issue(ada).RefreshToken))
	require.Empty(t, refresh)
}
