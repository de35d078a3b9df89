package redisstore_test

import (
	"crypto/rand"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// documentedUser returns the words of the documentation's line of ACL SETUSER that begins
// with this.
func documentedUser(t *testing.T, first string) []string {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^//\tACL SETUSER app (` + regexp.QuoteMeta(first) + `.*)$`).FindSubmatch(doc)
	require.NotNil(t, line, "the documentation has no such line")
	return strings.Fields(string(line[1]))
}

func setUser(t *testing.T, node *engines.Redis, words []string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", "app", "reset"}
	for _, word := range words {
		args = append(args, word)
	}
	require.NoError(t, node.Client.Do(t.Context(), args...).Err())
}

// The user that the documentation describes can do everything, and nothing else.
func TestUserWithTheDocumentedRights(t *testing.T) {
	r := engines.StartRedis(t)
	user := documentedUser(t, "on >PASSWORD")
	setUser(t, r, user)
	options := &redis.Options{Addr: r.Addr, Username: "app", Password: "PASSWORD"}
	log := captureLog(t)
	s, client := open(t, options)
	require.Empty(t, log.String())
	suite(t, s)
	require.ErrorContains(t, client.Get(t.Context(), "other:key").Err(), "NOPERM")
	require.ErrorContains(t, client.FlushAll(t.Context()).Err(), "NOPERM")

	needsEach(t, []*engines.Redis{r}, nil, user, func() redis.UniversalClient { return redis.NewClient(options) })
}

func TestClusterUserWithTheDocumentedRights(t *testing.T) {
	testall.Long(t)
	c := engines.StartRedisCluster(t)
	user, more := documentedUser(t, "on >PASSWORD"), documentedUser(t, "+cluster")
	cluster := func() redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Username: "app", Password: "PASSWORD"})
	}
	for _, node := range c.Nodes {
		setUser(t, node, append(user, more...))
	}
	require.NoError(t, everyCall(t, cluster()))
	// Newer versions of go-redis also ask for COMMAND; the oldest that go.mod allows does not.
	needsEach(t, c.Nodes, append(user, "+command"), slices.DeleteFunc(more, func(right string) bool { return right == "+command" }), cluster)
}

// needsEach checks that each of the rights is asked for: without it, and with
// all others, a server says that it has refused that command.
func needsEach(t *testing.T, nodes []*engines.Redis, given, rights []string, client func() redis.UniversalClient) {
	t.Helper()
	for i, right := range rights {
		command, isCommand := strings.CutPrefix(right, "+")
		if !isCommand {
			continue
		}
		for _, node := range nodes {
			setUser(t, node, slices.Concat(given, rights[:i], rights[i+1:]))
			require.NoError(t, node.Client.ScriptFlush(t.Context()).Err())
			require.NoError(t, node.Client.Do(t.Context(), "ACL", "LOG", "RESET").Err())
		}
		_ = everyCall(t, client())
		var refused []string
		for _, node := range nodes {
			entries, err := node.Client.ACLLog(t.Context(), 100).Result()
			require.NoError(t, err)
			for _, e := range entries {
				refused = append(refused, e.Object)
			}
		}
		require.Contains(t, refused, command, "the documentation lists it, and nothing needs it")
	}
}

// everyCall calls everything once in every way, and returns the errors.
func everyCall(t *testing.T, client redis.UniversalClient) error {
	t.Helper()
	defer client.Close()
	s, err := redisstore.New(t.Context(), client, "app:")
	if err != nil {
		return err
	}
	ctx, key, end := t.Context(), rand.Text(), time.Now().Add(time.Hour)
	return errors.Join(
		s.CommitCtx(ctx, key, []byte("data"), end), s.DeleteCtx(ctx, key),
		s.CommitCtx(ctx, key+"over", []byte("data"), time.Now()),
		s.CommitGrant(ctx, key, "", core.Record{Version: "v1", Expiry: end}),
		s.CommitGrant(ctx, key, "v1", core.Record{Version: "v2"}),
		third(s.FindGrant(ctx, key)), third(s.ListGrants(ctx, "", 10)), s.DeleteGrant(ctx, key),
	)
}

func third[A, B any](_ A, _ B, err error) error { return err }
