package mysqlstore_test

import (
	"context"
	"database/sql"
	"log"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/mysqlstore"
)

func ExampleNew() {
	ctx := context.Background()
	db, err := sql.Open("mysql", "app@tcp(localhost:3306)/app?rejectReadOnly=true")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	db.SetConnMaxLifetime(3 * time.Minute)

	store, err := mysqlstore.New(ctx, db)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // before the database
	_ = core.Config{
		Sessions: core.NewSessions(store), // one value,
		Grants:   store,                   // two roles
	}
}
