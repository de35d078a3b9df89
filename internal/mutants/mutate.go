//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one small change of the source.
type mutant struct {
	id   int    // what MXM_MUTANT is
	line int    //
	key  string // file, function and change; it stays when lines move
}

func (m mutant) String() string {
	file, rest, _ := strings.Cut(m.key, " ")
	return fmt.Sprintf("%s:%d %s", file, m.line, rest)
}

// pkg is a package with all its mutants inside.
type pkg struct {
	dir     string
	name    string
	sources map[string][]byte // instrumented, by path
	mutants []mutant
	digest  string // of the original sources
}

// prelude is a file that is added to the package.
const prelude = `package %s

import (
	"os"
	"strconv"
)

var mxmMutant, _ = strconv.Atoi(os.Getenv("MXM_MUTANT"))

func mxmIs(n int) bool { return mxmMutant == n }

func mxmPick[T any](n int, original, changed T) T {
	if mxmMutant == n {
		return changed
	}
	return original
}

func mxmZero[T any](n int, original T) (changed T) {
	if mxmMutant == n {
		return changed
	}
	return original
}
`

// load reads a package and puts all its mutants inside.
func load(path string) (*pkg, error) {
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,Dir,Name,GoFiles", path).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	type listed struct {
		ImportPath, Export, Dir, Name string
		GoFiles                       []string
	}
	exports := map[string]string{}
	var last listed // the package itself comes after all that it needs
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[l.ImportPath], last = l.Export, l
	}
	sources := map[string][]byte{}
	for _, name := range last.GoFiles {
		file := filepath.Join(last.Dir, name)
		if sources[file], err = os.ReadFile(file); err != nil {
			return nil, err
		}
	}
	fset := token.NewFileSet()
	return instrument(fset, last.Dir, sources, importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	}))
}

func instrument(fset *token.FileSet, dir string, sources map[string][]byte, imports types.Importer) (*pkg, error) {
	p := &pkg{dir: dir, sources: map[string][]byte{}}
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range sources {
			if !yield(name) {
				return
			}
		}
	})
	var files []*ast.File
	hash := sha256.New()
	for _, name := range names {
		file, err := parser.ParseFile(fset, name, sources[name], 0)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
		hash.Write(sources[name])
	}
	p.digest = hex.EncodeToString(hash.Sum(nil))[:12]
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	checked, err := (&types.Config{Importer: imports}).Check(dir, fset, files, info)
	if err != nil {
		return nil, err
	}
	p.name = checked.Name()
	seen := map[string]int{}
	for i, file := range files {
		s := &surgeon{fset: fset, info: info, src: sources[names[i]], name: filepath.Base(names[i]), file: file, own: checked, p: p, seen: seen}
		s.cutFile()
		p.sources[names[i]] = s.sewn()
	}
	p.sources[filepath.Join(dir, "mxm_mutants.go")] = fmt.Appendf(nil, prelude, p.name)
	return p, nil
}

// surgeon puts the mutants of one file in. It only inserts text, so that places
// may lie within each other.
type surgeon struct {
	fset   *token.FileSet
	info   *types.Info
	src    []byte
	name   string
	file   *ast.File
	own    *types.Package
	p      *pkg
	seen   map[string]int // by key
	fn     string         // the function at hand
	before []insertion    // what encloses comes first
	after  []insertion    // likewise, so it is inserted in the reverse order
}

type insertion struct {
	at   int
	text string
}

func (s *surgeon) sewn() []byte {
	slices.Reverse(s.after)
	all := slices.Concat(s.after, s.before) // what ends at a place comes before what begins there
	slices.SortStableFunc(all, func(a, b insertion) int { return a.at - b.at })
	var out bytes.Buffer
	last := 0
	for _, in := range all {
		out.Write(s.src[last:in.at])
		out.WriteString(in.text)
		last = in.at
	}
	out.Write(s.src[last:])
	return out.Bytes()
}

func (s *surgeon) offset(p token.Pos) int { return s.fset.Position(p).Offset }

func (s *surgeon) text(n ast.Node) string { return string(s.src[s.offset(n.Pos()):s.offset(n.End())]) }

// short is the text of n in one line.
func (s *surgeon) short(n ast.Node) string { return shorten(s.text(n)) }

func shorten(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 90 {
		text = text[:60] + " … " + text[len(text)-25:]
	}
	return text
}

// cut adds a mutant that stands around from and to. before and after get its number.
func (s *surgeon) cut(from, to token.Pos, before, after, change string, args ...any) {
	id := len(s.p.mutants) + 1
	key := fmt.Sprintf("%s %s: %s", s.name, s.fn, fmt.Sprintf(change, args...))
	if s.seen[key]++; s.seen[key] > 1 {
		key = fmt.Sprintf("%s (%d)", key, s.seen[key])
	}
	s.p.mutants = append(s.p.mutants, mutant{id: id, line: s.fset.Position(from).Line, key: key})
	s.before = append(s.before, insertion{s.offset(from), strings.ReplaceAll(before, "#", fmt.Sprint(id))})
	s.after = append(s.after, insertion{s.offset(to), strings.ReplaceAll(after, "#", fmt.Sprint(id))})
}

func (s *surgeon) negate(e ast.Expr) {
	s.cut(e.Pos(), e.End(), "((", ") != mxmIs(#))", "not %s", s.short(e))
}

// either replaces a condition by another one; neither is evaluated without need.
func (s *surgeon) either(e ast.Expr, other string) {
	s.cut(e.Pos(), e.End(), "(mxmIs(#) && ("+other+") || !mxmIs(#) && (", "))", "%s becomes %s", s.short(e), shorten(other))
}

func (s *surgeon) pick(e ast.Expr, before, other string) {
	s.cut(e.Pos(), e.End(), "mxmPick(#, "+before+"(", "), "+other+")", "%s becomes %s", s.short(e), shorten(other))
}

func (s *surgeon) without(from, to ast.Node, change string, args ...any) {
	s.cut(from.Pos(), to.End(), "if !mxmIs(#) { ", " }", change, args...)
}

func (s *surgeon) cutFile() {
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			s.fn = d.Name.Name
			if d.Recv != nil {
				s.fn = strings.Trim(s.text(d.Recv.List[0].Type), "*") + "." + s.fn
			}
			s.cutFunc(d.Type, d.Body)
		case *ast.GenDecl:
			if d.Tok == token.VAR {
				s.fn = "var"
				s.walk(d)
			}
		}
	}
}

// cutFunc makes every return that can be left out legal to leave out: what
// falls off the end of a function panics.
func (s *surgeon) cutFunc(t *ast.FuncType, body *ast.BlockStmt) {
	if t.Results != nil {
		s.after = append(s.after, insertion{s.offset(body.Rbrace), "; panic(\"a mutant\")\n"})
	}
	s.block(body.List, t.Results != nil)
}

// block looks at statements. last says that the last one ends the function.
func (s *surgeon) block(list []ast.Stmt, last bool) {
	for i, stmt := range list {
		s.stmt(stmt, last && i == len(list)-1)
		s.walk(stmt)
	}
}

func (s *surgeon) stmt(stmt ast.Stmt, last bool) {
	switch st := stmt.(type) {
	case *ast.ExprStmt:
		s.removed(stmt, st.X)
	case *ast.DeferStmt:
		s.removed(stmt, st.Call)
	case *ast.AssignStmt:
		if st.Tok != token.DEFINE && !allBlank(st.Lhs) {
			s.removed(stmt, nil)
		}
	case *ast.IncDecStmt, *ast.SendStmt, *ast.BranchStmt, *ast.GoStmt:
		s.removed(stmt, nil)
	case *ast.ReturnStmt:
		if !last {
			s.removed(stmt, nil)
		}
	}
}

// removed leaves a statement out, except where it takes or gives back a lock: the
// race detector looks for that.
func (s *surgeon) removed(stmt ast.Stmt, call ast.Expr) {
	if call, ok := call.(*ast.CallExpr); ok {
		if f, ok := call.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "Lock" || f.Sel.Name == "Unlock") {
			return
		}
	}
	s.without(stmt, stmt, "removed: %s", s.short(stmt))
}

func allBlank(list []ast.Expr) bool {
	return !slices.ContainsFunc(list, func(e ast.Expr) bool {
		name, ok := e.(*ast.Ident)
		return !ok || name.Name != "_"
	})
}

// walk looks for places within n.
func (s *surgeon) walk(n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			s.cutFunc(n.Type, n.Body)
			return false
		case *ast.BlockStmt:
			s.block(n.List, false)
			return false
		case *ast.IfStmt:
			s.condition(n.Cond)
			if len(n.Body.List) > 1 || n.Else != nil {
				s.either(n.Cond, "false")
			}
		case *ast.ForStmt:
			if n.Cond != nil {
				s.condition(n.Cond)
			}
		case *ast.SwitchStmt:
			s.cases(n)
		case *ast.CaseClause:
			for _, e := range n.List {
				s.walk(e)
			}
			s.dropBody(n.Body)
			s.block(n.Body, false)
			return false
		case *ast.CommClause:
			s.dropBody(n.Body)
			if n.Comm != nil {
				s.walk(n.Comm)
			}
			s.block(n.Body, false)
			return false
		case *ast.ArrayType:
			return false // its length must be a constant
		case *ast.BinaryExpr:
			return s.binary(n)
		case *ast.CallExpr:
			s.call(n)
		case *ast.CompositeLit:
			s.fields(n)
		}
		if e, ok := n.(ast.Expr); ok {
			return s.constant(e)
		}
		return true
	})
}

func (s *surgeon) cases(n *ast.SwitchStmt) {
	if n.Tag != nil {
		return
	}
	for _, c := range n.Body.List {
		for _, e := range c.(*ast.CaseClause).List {
			s.condition(e)
			s.either(e, "false")
		}
	}
}

// dropBody leaves out what a case does, where that is more than one statement,
// which is left out by itself.
func (s *surgeon) dropBody(body []ast.Stmt) {
	if len(body) > 1 {
		s.without(body[0], body[len(body)-1], "the case is empty that begins %s", s.short(body[0]))
	}
}

// condition negates e, unless it is an operator that binary looks at.
func (s *surgeon) condition(e ast.Expr) {
	if b, ok := e.(*ast.BinaryExpr); !ok || b.Op == token.LAND || b.Op == token.LOR {
		s.negate(e)
	}
}

// moved is the operator that differs at the boundary only.
var moved = map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}

func (s *surgeon) binary(e *ast.BinaryExpr) (deeper bool) {
	if s.info.Types[e].Value != nil {
		return s.constant(e)
	}
	x, y := s.text(e.X), s.text(e.Y)
	switch e.Op {
	case token.LAND, token.LOR:
		other := map[token.Token]string{token.LAND: "||", token.LOR: "&&"}[e.Op]
		s.either(e, "("+x+") "+other+" ("+y+")")
		s.either(e, x)
		s.either(e, y)
		s.leaf(e.X)
		s.leaf(e.Y)
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
		s.negate(e)
		if op, ok := moved[e.Op]; ok && types.TypeString(s.info.Types[e.X].Type, nil) != "time.Duration" { // of a nanosecond nothing depends
			s.either(e, x+" "+op+" "+y)
		}
		for _, side := range []ast.Expr{e.X, e.Y} {
			if !s.count(side) { // a count moves with the operator
				s.walk(side)
			}
		}
		return false
	case token.ADD:
		if s.number(e) {
			s.pick(e, "", x+" - ("+y+")")
		}
	case token.SUB:
		if s.number(e) {
			s.pick(e, "", x+" + "+y)
		}
	}
	return true
}

// leaf negates an operand of a condition that is itself no operator.
func (s *surgeon) leaf(e ast.Expr) {
	if _, ok := e.(*ast.BinaryExpr); !ok {
		s.negate(e)
	}
}

func (s *surgeon) call(e *ast.CallExpr) {
	f, ok := e.Fun.(*ast.Ident)
	if !ok || s.info.Types[e].Value != nil || !s.info.Types[e.Fun].IsBuiltin() {
		return
	}
	if other := map[string]string{"max": "min", "min": "max"}[f.Name]; other != "" {
		s.pick(e, "", other+strings.TrimPrefix(s.text(e), f.Name))
	}
}

// fields leaves fields of a struct out.
func (s *surgeon) fields(e *ast.CompositeLit) {
	t := s.info.Types[e].Type
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	if _, ok := t.Underlying().(*types.Struct); !ok {
		return
	}
	for _, elt := range e.Elts {
		field, ok := elt.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		v := s.info.Types[field.Value]
		if _, ok := v.Type.Underlying().(*types.Signature); ok || v.Value != nil || v.IsNil() {
			continue
		}
		s.cut(field.Value.Pos(), field.Value.End(), "mxmZero(#, ", ")", "without the field %s", s.short(field))
	}
}

// number reports whether e is of a plain number type or a duration.
func (s *surgeon) number(e ast.Expr) bool {
	switch types.TypeString(s.info.Types[e].Type, nil) {
	case "int", "int64", "float64", "time.Duration":
		return true
	}
	return false
}

func (s *surgeon) count(e ast.Expr) bool {
	v := s.info.Types[e]
	return v.Value != nil && s.number(e) && types.TypeString(v.Type, nil) != "time.Duration"
}

// constant changes a constant: a count by one, a duration by the factor two.
func (s *surgeon) constant(e ast.Expr) (deeper bool) {
	v := s.info.Types[e]
	if v.Value == nil {
		return true
	}
	if id, ok := e.(*ast.Ident); ok && v.Value.Kind() == constant.Bool && (id.Name == "true" || id.Name == "false") {
		s.negate(e)
		return false
	}
	if !s.number(e) {
		return false
	}
	text := s.text(e)
	switch t := types.TypeString(v.Type, nil); t {
	case "int", "int64":
		s.pick(e, t, t+"("+text+") + 1")
	default:
		if constant.Sign(v.Value) == 0 || t == "time.Duration" && !s.imports("time") {
			break
		}
		s.pick(e, t, t+"("+text+") * 2")
		s.pick(e, t, t+"("+text+") / 2")
	}
	return false
}

func (s *surgeon) imports(path string) bool {
	return slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"`+path+`"` })
}
