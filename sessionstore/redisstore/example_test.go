package redisstore_test

import (
	"context"
	"log"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/redis/go-redis/v9"
)

func ExampleNew() {
	client := redis.NewClient(&redis.Options{
		Addr:                  "localhost:6379",
		ContextTimeoutEnabled: true, // a deadline also ends a command that is under way
	})
	defer client.Close()

	store, err := redisstore.New(context.Background(), client, "app:")
	if err != nil {
		log.Fatal(err)
	}
	_ = core.Config{
		Sessions: core.NewSessions(store), // one value,
		Grants:   store,                   // two roles
	}
}
