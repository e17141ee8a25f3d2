// What Kubernetes' own structured-merge-diff answers: a request a line on standard input, an answer a line on standard
// output. Built by tests/tools/oracle.sh from Debian's packages; asked by crates/apiserver/src/merge/oracle.rs.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"

	"sigs.k8s.io/structured-merge-diff/fieldpath"
	"sigs.k8s.io/structured-merge-diff/merge"
	"sigs.k8s.io/structured-merge-diff/typed"
	"sigs.k8s.io/structured-merge-diff/value"
)

// oneVersion converts nothing: our definitions have one schema for all their versions.
type oneVersion struct{}

func (oneVersion) Convert(object *typed.TypedValue, _ fieldpath.APIVersion) (*typed.TypedValue, error) {
	return object, nil
}

func (oneVersion) IsMissingVersionError(error) bool { return false }

type owned struct {
	Fields  json.RawMessage `json:"fields"`
	Applied bool            `json:"applied"`
}

type request struct {
	// The schema in the library's own form, its root named "root".
	Schema json.RawMessage `json:"schema"`
	// Otherwise an update.
	Apply    bool             `json:"apply"`
	Live     json.RawMessage  `json:"live"`
	New      json.RawMessage  `json:"new"`
	Manager  string           `json:"manager"`
	Force    bool             `json:"force"`
	Managers map[string]owned `json:"managers"`
}

type answer struct {
	Object    json.RawMessage  `json:"object,omitempty"`
	Managers  map[string]owned `json:"managers"`
	Conflicts [][2]string      `json:"conflicts,omitempty"`
	// Not of the schema's type.
	Invalid string `json:"invalid,omitempty"`
	// Anything else: the test is wrong.
	Failed string `json:"failed,omitempty"`
}

func decide(r request) answer {
	parser, err := typed.NewParser(typed.YAMLObject(r.Schema))
	if err != nil {
		return answer{Failed: "schema: " + err.Error()}
	}
	root := parser.Type("root")
	live, err := root.FromYAML(typed.YAMLObject(r.Live))
	if err != nil {
		return answer{Failed: "live: " + err.Error()}
	}
	wanted, err := root.FromYAML(typed.YAMLObject(r.New))
	if err != nil {
		return answer{Invalid: err.Error()}
	}
	managers, err := r.managers()
	if err != nil {
		return answer{Failed: "managers: " + err.Error()}
	}
	updater := &merge.Updater{Converter: oneVersion{}}
	object := wanted
	if r.Apply {
		object, managers, err = updater.Apply(live, wanted, "v1", managers, r.Manager, r.Force)
	} else {
		_, managers, err = updater.Update(live, wanted, "v1", managers, r.Manager)
	}
	if _, ok := err.(merge.Conflicts); ok {
		return conflicts(r, updater, live, wanted)
	}
	if err != nil {
		return answer{Failed: err.Error()}
	}
	if object == nil {
		object = live
	}
	text, err := value.ToJSON(object.AsValue())
	if err != nil {
		return answer{Failed: err.Error()}
	}
	out := answer{Object: text, Managers: map[string]owned{}}
	for name, set := range managers {
		fields, err := set.Set().ToJSON()
		if err != nil {
			return answer{Failed: err.Error()}
		}
		out.Managers[name] = owned{fields, set.Applied()}
	}
	return out
}

func (r request) managers() (fieldpath.ManagedFields, error) {
	managers := fieldpath.ManagedFields{}
	for name, one := range r.Managers {
		fields := &fieldpath.Set{}
		if err := fields.FromJSON(bytes.NewReader(one.Fields)); err != nil {
			return nil, err
		}
		managers[name] = fieldpath.NewVersionedSet(fields, "v1", one.Applied)
	}
	return managers, nil
}

// conflicts says which fields the refused apply would have taken from whom. The library's own list does not: in this
// version its paths share memory, and later ones overwrite earlier ones.
func conflicts(r request, updater *merge.Updater, live, wanted *typed.TypedValue) answer {
	managers, err := r.managers()
	if err != nil {
		return answer{Failed: "managers: " + err.Error()}
	}
	forced, _, err := updater.Apply(live, wanted, "v1", managers, r.Manager, true)
	if err != nil {
		return answer{Failed: "forced: " + err.Error()}
	}
	found, err := live.Compare(forced)
	if err != nil {
		return answer{Failed: "compare: " + err.Error()}
	}
	managers, err = r.managers()
	if err != nil {
		return answer{Failed: "managers: " + err.Error()}
	}
	var out answer
	for name, set := range managers {
		if name == r.Manager {
			continue
		}
		set.Set().Intersection(found.Modified.Union(found.Added)).Iterate(func(path fieldpath.Path) {
			out.Conflicts = append(out.Conflicts, [2]string{name, path.String()})
		})
	}
	return out
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var r request
		out := answer{}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			out.Failed = err.Error()
		} else {
			out = decide(r)
		}
		text, err := json.Marshal(out)
		if err != nil {
			panic(err)
		}
		os.Stdout.Write(append(text, '\n'))
	}
}
