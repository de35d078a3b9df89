package pgxstore_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/pgxstore"
)

func ExampleNew() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://app@localhost/app")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()

	store, err := pgxstore.New(ctx, pool)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // before the pool
	_ = core.Config{
		Sessions: core.NewSessions(store), // one value,
		Grants:   store,                   // two roles
	}
}

func ExampleNewDB() {
	ctx := context.Background()
	db, err := sql.Open("pgx", "postgres://app@localhost/app")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20) // of the default, 2, the others are opened and closed all the time

	store, err := pgxstore.NewDB(ctx, db)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // before db
	_ = core.Config{
		Sessions: core.NewSessions(store), // one value,
		Grants:   store,                   // two roles
	}
}
