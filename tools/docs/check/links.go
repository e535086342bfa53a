// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path"
	"strings"
)

// checkLinks wants the target of each relative link to exist, and the heading in it.
func (s *site) checkLinks(p page) {
	for _, l := range p.links {
		if strings.Contains(l.text, ":") && !strings.HasPrefix(l.text, "#") {
			continue // elsewhere
		}
		target, name, _ := strings.Cut(l.text, "#")
		file := p.path
		if target != "" {
			file = path.Join(path.Dir(p.path), target)
		}
		switch err := s.checkTarget(p, file, name); {
		case strings.HasPrefix(file, ".."):
			s.report(p, l.line, "link %q leads out of the project", l.text)
		case err != nil:
			s.report(p, l.line, "link %q: %v", l.text, err)
		}
	}
}

func (s *site) checkTarget(p page, file, name string) error {
	if file == p.path {
		return p.checkAnchor(name)
	}
	if _, err := os.Stat(s.root + "/" + file); err != nil {
		return fmt.Errorf("there is no %s", file)
	}
	if name == "" || !strings.HasSuffix(file, ".md") {
		return nil
	}
	target, err := s.page(file)
	if err != nil {
		return err
	}
	return target.checkAnchor(name)
}

func (p page) checkAnchor(name string) error {
	if !p.anchors[name] {
		return fmt.Errorf("%s has no heading #%s", p.path, name)
	}
	return nil
}
