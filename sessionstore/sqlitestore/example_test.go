package sqlitestore_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/sqlitestore"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := sqlitestore.Open(filepath.Join(dir, "app.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	config := core.Config{
		ClientID:     "client",
		ClientSecret: os.Getenv("MUSIXMATCH_CLIENT_SECRET"),
		RedirectURL:  "https://app.example/auth/musixmatch/callback",
		Sessions:     core.NewSessions(store), // one value,
		Grants:       store,                   // two roles
	}
	fmt.Println(config.Sessions.HashTokenInStore)
	// Output: true
}
