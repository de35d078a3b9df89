package mysqlstore

import (
	"context"
	"strings"
	"time"
)

const (
	sweepEvery   = time.Minute
	sweepTimeout = 10 * time.Second
	sweepBatch   = 500 // MariaDB makes a subquery of a thousand, and would lock in another order
)

// sweep runs at once, too: an instance that never lives a minute also deletes.
func (s *Store) sweep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// What fails is tried again in a minute. Nobody waits for it: what has
		// expired is not found, deleted or not.
		for s.sweepTable(ctx, "mxm_sessions", "token") == sweepBatch {
		}
		for s.sweepTable(ctx, "mxm_grants", "grant_key") == sweepBatch {
		}
		timer.Reset(sweepEvery)
	}
}

// sweepTable deletes a batch of rows that have expired, and returns how many
// there were.
//
// A DELETE by expiry would lock entries of that index and then rows, and a commit
// locks its row and then changes the index: a deadlock. So the keys are read
// without a lock, and the DELETE finds rows by key, in the order of the keys as
// every sweep does, while a commit holds no more than one.
func (s *Store) sweepTable(ctx context.Context, table, key string) int {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	rows, err := s.db.QueryContext(ctx, `SELECT `+key+` FROM `+table+` WHERE expiry <= UTC_TIMESTAMP(6) LIMIT ?`, sweepBatch)
	if err != nil {
		return 0
	}
	defer rows.Close()
	var expired []any
	for rows.Next() {
		var k []byte
		if err := rows.Scan(&k); err != nil {
			return 0
		}
		expired = append(expired, k)
	}
	if rows.Err() != nil || len(expired) == 0 {
		return 0
	}
	if _, err := s.db.ExecContext(ctx, `DELETE t FROM `+table+` AS t FORCE INDEX (PRIMARY) WHERE t.`+key+
		` IN (?`+strings.Repeat(`, ?`, len(expired)-1)+`) AND t.expiry <= UTC_TIMESTAMP(6)`, expired...); err != nil {
		return 0
	}
	return len(expired)
}
