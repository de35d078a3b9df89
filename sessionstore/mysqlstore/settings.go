package mysqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// settings are the server's variables as one connection sees them. Of those that
// have two names, a server knows one or both.
type settings map[string]string

func readSettings(ctx context.Context, db *sql.DB) (settings, error) {
	rows, err := db.QueryContext(ctx, `SHOW VARIABLES WHERE variable_name IN ('read_only', 'innodb_read_only',
		'tx_read_only', 'transaction_read_only', 'tx_isolation', 'transaction_isolation', 'autocommit', 'sql_mode',
		'wsrep_on', 'log_bin', 'binlog_format', 'sync_binlog', 'innodb_flush_log_at_trx_commit')`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	s := settings{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		s[strings.ToLower(name)] = strings.ToUpper(value)
	}
	return s, rows.Err()
}

func (s settings) on(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return s[name] != "" && s[name] != "OFF" && s[name] != "0" })
}

// isolation is that of the connection, such as REPEATABLE-READ.
func (s settings) isolation() string {
	return cmp.Or(s["transaction_isolation"], s["tx_isolation"])
}

// check refuses a server or a connection with which the contract of a store
// cannot be kept.
func (s settings) check() error {
	modes := strings.Split(s["sql_mode"], ",")
	var wrong []error
	if s.on("read_only", "innodb_read_only", "tx_read_only", "transaction_read_only") {
		wrong = append(wrong, errors.New("the server is read-only; grants must be read from the primary"))
	}
	if s.on("wsrep_on") {
		wrong = append(wrong, errors.New("wsrep_on is ON: Galera has not been tried, and a node of it may answer with what another has replaced"))
	}
	if !s.on("autocommit") {
		wrong = append(wrong, errors.New("autocommit is OFF, where nothing is stored; it must be ON"))
	}
	if s.isolation() == "READ-UNCOMMITTED" {
		wrong = append(wrong, errors.New("the isolation level is READ-UNCOMMITTED, where a grant is found that was never stored; it must be another"))
	}
	if s.isolation() == "READ-COMMITTED" && s.on("log_bin") && s["binlog_format"] == "STATEMENT" {
		wrong = append(wrong, errors.New("the isolation level is READ-COMMITTED and binlog_format is STATEMENT, where InnoDB refuses to write; one of them must be another"))
	}
	if !slices.Contains(modes, "STRICT_TRANS_TABLES") && !slices.Contains(modes, "STRICT_ALL_TABLES") {
		wrong = append(wrong, errors.New("sql_mode lacks STRICT_TRANS_TABLES, without which a value that is too long is cut"))
	}
	if slices.Contains(modes, "EMPTY_STRING_IS_NULL") {
		wrong = append(wrong, errors.New("sql_mode has EMPTY_STRING_IS_NULL, with which a session without data is one that has ended"))
	}
	return errors.Join(wrong...)
}

// warn says what may be lost though it was acknowledged.
func (s settings) warn(ctx context.Context) {
	if v := s["innodb_flush_log_at_trx_commit"]; v == "0" || v == "2" {
		slog.WarnContext(ctx, fmt.Sprintf("mysqlstore: innodb_flush_log_at_trx_commit is %s: a crash loses grants that were stored", v))
	}
	if s.on("log_bin") && s["sync_binlog"] != "1" {
		slog.WarnContext(ctx, fmt.Sprintf("mysqlstore: sync_binlog is %s: a crash of the machine loses grants that were stored", s["sync_binlog"]))
	}
}
