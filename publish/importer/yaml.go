package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxYAML is the largest file in YAML, in bytes: a node takes a hundred times its text.
const maxYAML = 1 << 18

// asJSON returns a file of another tool in JSON: as it is, or one of YAML.
func asJSON(file []byte) ([]byte, error) {
	if start := bytes.TrimSpace(file); len(start) > 0 && start[0] == '{' {
		return file, distinctMembers(file)
	}
	doc, err := parseYAML(file)
	if err != nil {
		return nil, fmt.Errorf("neither JSON nor YAML: %w", err)
	}
	value, err := plain(doc, 0)
	if err != nil {
		return nil, fmt.Errorf("YAML: %w", err)
	}
	return json.Marshal(value)
}

// parseYAML calls the library, whose limits are not relied on.
func parseYAML(file []byte) (doc *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			doc, err = nil, fmt.Errorf("the parser gave up: %.200v", p)
		}
	}()
	if len(file) > maxYAML {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(file), maxYAML)
	}
	d := yaml.NewDecoder(bytes.NewReader(file))
	doc = new(yaml.Node)
	if err := d.Decode(doc); err != nil {
		return nil, err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("want names with values")
	}
	return doc.Content[0], nil
}

// plain returns what a node has in terms of JSON. Anchors and aliases are refused, with which a
// short file means a huge one, and so are keys that stand twice.
func plain(n *yaml.Node, depth int) (any, error) {
	if depth > maxDepth || n.Anchor != "" || n.Alias != nil {
		return nil, fmt.Errorf("line %d: an anchor, an alias, or over %d levels", n.Line, maxDepth)
	}
	switch n.Kind {
	case yaml.MappingNode:
		return plainMapping(n, depth)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := plain(c, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.ScalarNode:
		return plainScalar(n)
	}
	return nil, fmt.Errorf("line %d: neither a value, a list nor names with values", n.Line)
}

func plainMapping(n *yaml.Node, depth int) (any, error) {
	m := make(map[string]any)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if _, twice := m[name.Value]; twice || name.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: name %.40q twice, or none", name.Line, name.Value)
		}
		v, err := plain(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		m[name.Value] = v
	}
	return m, nil
}

// plainScalar takes numbers of an octet and null for what they are, all else for text: hexadecimal
// digits may look like a number.
func plainScalar(n *yaml.Node) (any, error) {
	switch n.Tag {
	case "!!int":
		if i, err := strconv.ParseUint(n.Value, 10, 8); err == nil {
			return i, nil
		}
		return n.Value, nil
	case "!!null":
		return nil, nil
	case "!!str", "!!float", "!!bool", "!!timestamp":
		return n.Value, nil
	}
	return nil, fmt.Errorf("line %d: value with tag %.40q", n.Line, n.Tag)
}
