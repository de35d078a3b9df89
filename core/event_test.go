package core_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Operators alert on reasons: the documentation of Event has every one.
func TestEveryReasonIsDocumented(t *testing.T) {
	source, err := os.ReadFile("event.go")
	require.NoError(t, err)
	_, doc, _ := strings.Cut(string(source), "// Event is one thing")
	doc, _, _ = strings.Cut(doc, "type Event struct")

	report, err := parser.ParseFile(token.NewFileSet(), "internal/grant/report.go", nil, 0)
	require.NoError(t, err)
	reasons := 0
	ast.Inspect(report, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		require.Regexp(t, `\b`+reason+`\b`, doc)
		reasons++
		return false
	})
	require.NotZero(t, reasons)
}
