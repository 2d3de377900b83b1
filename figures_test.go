package partyline_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// How large things may be. A figure that must go down keeps its last value: lower it when the figure has gone down.
const (
	mostMethods     = 41  // of a type; to go down to 40
	mostFields      = 16  // of a struct
	longestFunction = 60  // lines; see tooLong
	longestFile     = 400 // lines; see tooLarge
	mostArrowsUp    = 24  // between files of edge; to go down to 19
	mostUnderLock   = 44  // functions whose comment says that the caller must hold a lock; to go down to 25

	// Lines of code: blank lines and those that are comments do not count.
	mostInnerLines   = 11000 // of edge and the packages below edge/, of engine and of bus
	mostProductLines = 35802 // to go down to 26000
)

// tooLong are the functions that are longer than longestFunction, with their lines. Keep it empty.
var tooLong = map[string]int{}

// tooLarge are the files that are longer than longestFile, with their lines. It is to become empty.
var tooLarge = map[string]int{}

// underLock matches a comment that says that the caller must hold a lock.
var underLock = regexp.MustCompile(`(?i)\bneeds (\w+\.)?mu\b|\bmu must be held`)

// isProduct reports whether a file is linked into a program that users run, or into their services.
func isProduct(file string) bool {
	folder := path.Dir(file)
	first, _, _ := strings.Cut(folder, "/")
	return !strings.HasSuffix(file, "_test.go") && !strings.HasSuffix(folder, "test") && !slices.Contains([]string{"bench", "deploy", "docs", "examples", "test"}, first)
}

// source is one file of Go.
type source struct {
	name  string // the name in git
	lines int
	code  int // lines, without blank ones and comments
	*ast.File
}

// sources reads all existing Go files, also those that are not in git yet.
func sources(t *testing.T, fset *token.FileSet) (all []source) {
	t.Helper()
	list, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go").Output()
	if err != nil {
		t.Skipf("LEFT OUT: how large things are, because git does not list them: %v", err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		text, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		s := source{name: name, File: file}
		for line := range strings.Lines(string(text)) {
			s.lines++
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				s.code++
			}
		}
		all = append(all, s)
	}
	return all
}

// figures are the measurements, by name.
type figures struct {
	methods, fields  map[string]int // of types
	functions, files map[string]int // lines
	locked           map[string]int // functions that require a lock of their caller
	inner, product   int            // lines of code
}

func measure(t *testing.T) figures {
	t.Helper()
	fset := token.NewFileSet()
	f := figures{map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, 0, 0}
	for _, s := range sources(t, fset) {
		f.files[s.name] = s.lines
		if !isProduct(s.name) {
			continue
		}
		folder := path.Dir(s.name)
		f.product += s.code
		if first, _, _ := strings.Cut(folder, "/"); first == "edge" || first == "engine" || first == "bus" {
			f.inner += s.code
		}
		for _, d := range s.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				name := folder + "." + d.Name.Name
				if d.Recv != nil {
					receiver := folder + "." + receiverOf(d)
					name = receiver + "." + d.Name.Name
					f.methods[receiver]++
				}
				f.functions[name] = fset.Position(d.End()).Line - fset.Position(d.Pos()).Line + 1
				if d.Doc != nil && underLock.MatchString(d.Doc.Text()) {
					f.locked[name]++
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if typ, ok := spec.(*ast.TypeSpec); ok {
						if fields, ok := typ.Type.(*ast.StructType); ok {
							f.fields[folder+"."+typ.Name.Name] = fields.Fields.NumFields()
						}
					}
				}
			}
		}
	}
	return f
}

// receiverOf returns the name of a method's type.
func receiverOf(d *ast.FuncDecl) string {
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return fmt.Sprint(typ)
		}
	}
}

// largest returns the name with the largest figure, and that figure.
func largest(of map[string]int) (name string, n int) {
	for _, each := range slices.Sorted(maps.Keys(of)) {
		if of[each] > n {
			name, n = each, of[each]
		}
	}
	return name, n
}

// TestFigures keeps types, functions and files at a size that a reader can hold in mind.
func TestFigures(t *testing.T) {
	f := measure(t)
	if name, n := largest(f.methods); n > mostMethods {
		t.Errorf("%s has %d methods, more than %d", name, n, mostMethods)
	}
	if name, n := largest(f.fields); n > mostFields {
		t.Errorf("%s has %d fields, more than %d", name, n, mostFields)
	}
	if n := len(f.locked); n > mostUnderLock {
		t.Errorf("%d functions need a lock of their caller, more than %d", n, mostUnderLock)
	}
	within(t, f.functions, longestFunction, tooLong)
	within(t, f.files, longestFile, tooLarge)
	if f.inner > mostInnerLines || f.product > mostProductLines {
		t.Errorf("edge, engine and bus have %d lines of at most %d, all of the product %d of at most %d",
			f.inner, mostInnerLines, f.product, mostProductLines)
	}
	methods, m := largest(f.methods)
	fields, n := largest(f.fields)
	function, long := largest(f.functions)
	t.Logf("%s has %d methods, %s %d fields, %s %d lines; %d functions need a lock; edge, engine and bus have %d lines, the product %d",
		methods, m, fields, n, function, long, len(f.locked), f.inner, f.product)
}

// within checks that nothing is longer than a limit, except for exceptions, which may only become shorter.
func within(t *testing.T, lines map[string]int, limit int, exceptions map[string]int) {
	t.Helper()
	for name, n := range lines {
		if most := max(limit, exceptions[name]); n > most {
			t.Errorf("%s has %d lines, more than %d", name, n, most)
		}
	}
	for name := range exceptions {
		if lines[name] <= limit {
			t.Errorf("%s is no exception any more: take it out of the list", name)
		}
	}
}

// TestArrowsBetweenFilesOfEdge counts the uses between files of package edge that run against the best order of
// layers. If there are many, no file can be understood without the others.
func TestArrowsBetweenFilesOfEdge(t *testing.T) {
	uses := arrows(t, "partyline/edge")
	total := 0
	for _, used := range uses {
		total += len(used)
	}
	up := runUp(layered(uses), uses)
	if len(up) > mostArrowsUp {
		t.Errorf("%d of %d arrows between files run back up, more than %d:\n%s", len(up), total, mostArrowsUp, strings.Join(up, "\n"))
	}
	t.Logf("%d of %d arrows between files of edge run back up", len(up), total)
}

// arrows returns, for each file of a package, the files that declare what it uses.
func arrows(t *testing.T, pkg string) map[string]map[string]bool {
	t.Helper()
	list, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,GoFiles,Export", pkg).Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := map[string]string{}
	fset := token.NewFileSet()
	var files []*ast.File
	for d := json.NewDecoder(strings.NewReader(string(list))); d.More(); {
		var p struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if exports[p.ImportPath] = p.Export; p.ImportPath != pkg {
			continue
		}
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(fset, path.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
	}
	open := func(imported string) (io.ReadCloser, error) { return os.Open(exports[imported]) }
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", open)}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	checked, err := config.Check(pkg, fset, files, info)
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string]map[string]bool{}
	for _, file := range files {
		uses[path.Base(fset.Position(file.Pos()).Filename)] = map[string]bool{}
	}
	for ident, object := range info.Uses {
		from, to := path.Base(fset.Position(ident.Pos()).Filename), path.Base(fset.Position(object.Pos()).Filename)
		if object.Pkg() == checked && from != to {
			uses[from][to] = true
		}
	}
	return uses
}

// layered sorts files into an order in which few use an earlier one: users above, what they use below. It begins with
// those that use most. Then it moves each to its best place until nothing improves.
func layered(uses map[string]map[string]bool) []string {
	order := slices.Sorted(maps.Keys(uses))
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(len(uses[b]), len(uses[a])) })
	for best, better := len(runUp(order, uses)), true; better; {
		better = false
		for _, name := range slices.Clone(order) {
			for place := range order {
				tried := slices.DeleteFunc(slices.Clone(order), func(other string) bool { return other == name })
				tried = slices.Insert(tried, place, name)
				if n := len(runUp(tried, uses)); n < best {
					order, best, better = tried, n, true
				}
			}
		}
	}
	return order
}

// runUp lists the arrows from a file to an earlier one.
func runUp(order []string, uses map[string]map[string]bool) (up []string) {
	for i, below := range order {
		for _, above := range order[:i] {
			if uses[below][above] {
				up = append(up, below+" uses "+above)
			}
		}
	}
	return up
}
