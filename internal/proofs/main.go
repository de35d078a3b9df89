// Command proofs reads what `go test -json` writes, prints it as go test does
// without -v, and fails if a test failed, or if a test that README.md,
// SECURITY.md or a page in docs names did not pass: a proof that was skipped
// proves nothing.
//
//	{ go test -json ./...; (cd internal/browsertest && go test -json ./...); } | go run ./internal/proofs
//
// Run it in the root of the repository. A test counts as passed if it has in
// any of the runs. Benchmarks are not looked for: they run on demand.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	run := newRun(os.Stdout)
	if err := run.read(os.Stdin); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	missing := false
	for _, document := range append([]string{"README.md", "SECURITY.md"}, pages...) {
		text, err := os.ReadFile(document)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for _, problem := range run.unproved(string(text)) {
			fmt.Printf("%s: %s\n", document, problem)
			missing = true
		}
	}
	if missing || run.failed {
		os.Exit(1)
	}
}
