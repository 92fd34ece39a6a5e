// Checks notes and proofs with the code of Go's checksum database (golang.org/x/mod/sumdb), which
// knows nothing of Configtrail; and makes some, for Configtrail to check.
//
//	tlogcheck check < checks.json    prints one line a check: "ok", or why not
//	tlogcheck build SIZE             prints a signed checkpoint and proofs as JSON
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type check struct {
	Kind    string   // note, inclusion, consistency, root
	Vkey    string   // note
	Note    string   // note
	Leaf    []byte   // inclusion: the leaf's data
	Index   int64    // inclusion
	Size    int64    // all but note
	Root    []byte   // all but note
	OldSize int64    // consistency
	OldRoot []byte   // consistency
	Proof   [][]byte // inclusion, consistency
	Leaves  [][]byte // root: all leaf hashes
}

type store struct{ hashes []tlog.Hash }

func (s *store) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = s.hashes[index]
	}
	return found, nil
}

func (s *store) add(n int64, leaf tlog.Hash) error {
	added, err := tlog.StoredHashesForRecordHash(n, leaf, s)
	s.hashes = append(s.hashes, added...)
	return err
}

func hash(raw []byte) (h tlog.Hash) {
	copy(h[:], raw)
	return h
}

func hashes(raws [][]byte) (found []tlog.Hash) {
	for _, raw := range raws {
		found = append(found, hash(raw))
	}
	return found
}

func run(c check) error {
	switch c.Kind {
	case "note":
		verifier, err := note.NewVerifier(c.Vkey)
		if err != nil {
			return err
		}
		_, err = note.Open([]byte(c.Note), note.VerifierList(verifier))
		return err
	case "inclusion":
		return tlog.CheckRecord(hashes(c.Proof), c.Size, hash(c.Root), c.Index, tlog.RecordHash(c.Leaf))
	case "consistency":
		return tlog.CheckTree(hashes(c.Proof), c.Size, hash(c.Root), c.OldSize, hash(c.OldRoot))
	case "root":
		s := &store{}
		for n, leaf := range c.Leaves {
			if err := s.add(int64(n), hash(leaf)); err != nil {
				return err
			}
		}
		root, err := tlog.TreeHash(c.Size, s)
		if err == nil && !bytes.Equal(root[:], c.Root) {
			err = fmt.Errorf("another root")
		}
		return err
	}
	return fmt.Errorf("unknown kind %q", c.Kind)
}

func raws(found []tlog.Hash) [][]byte {
	made := [][]byte{}
	for i := range found {
		made = append(made, found[i][:])
	}
	return made
}

func build(size int64) (any, error) {
	name := "example.com/go-log"
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, err
	}
	s := &store{}
	for n := int64(0); n < size; n++ {
		if err := s.add(n, tlog.RecordHash([]byte(strconv.FormatInt(n, 10)))); err != nil {
			return nil, err
		}
	}
	root, err := tlog.TreeHash(size, s)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", name, size, base64.StdEncoding.EncodeToString(root[:]))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, err
	}
	var checks []check
	for n := int64(0); n < size; n++ {
		included, err := tlog.ProveRecord(size, n, s)
		if err != nil {
			return nil, err
		}
		leaf := []byte(strconv.FormatInt(n, 10))
		checks = append(checks, check{Kind: "inclusion", Leaf: leaf, Index: n, Proof: raws(included)})
		old, err := tlog.TreeHash(n+1, s)
		if err != nil {
			return nil, err
		}
		grown, err := tlog.ProveTree(size, n+1, s)
		if err != nil {
			return nil, err
		}
		checks = append(checks, check{Kind: "consistency", OldSize: n + 1, OldRoot: old[:], Proof: raws(grown)})
	}
	return map[string]any{"vkey": vkey, "note": string(signed), "checks": checks}, nil
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "build" {
		size, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err == nil {
			var made any
			if made, err = build(size); err == nil {
				err = json.NewEncoder(os.Stdout).Encode(made)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var checks []check
	if err := json.NewDecoder(os.Stdin).Decode(&checks); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, c := range checks {
		if err := run(c); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("ok")
		}
	}
}
