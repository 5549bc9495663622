package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/sshconfig"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/profile"
)

// The files of config --install are one for each proxy, in one of two directories. They
// begin with what tells them from files of people, and from what they were made.
const (
	configPrefix  = "tsh-"
	configSuffix  = ".conf"
	configHeader  = "# Made by tsh config --install; a change here is lost.\n"
	configFlags   = "# With: "
	maxConfigFile = 1 << 20
)

// configPlace is a directory for installed files, with the line that has OpenSSH read
// them.
type configPlace struct {
	dir  string
	line string
}

// configPlaces are the directory under ~/.ssh and the one of ours.
func configPlaces(store *profile.Store) (ssh, ours configPlace, err error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return ssh, ours, err
	}
	ssh = configPlace{filepath.Join(home, ".ssh", "config.d"), "Include config.d/" + configPrefix + "*" + configSuffix}
	dir := filepath.Join(store.Home(), "config", "tsh", "ssh")
	ours = configPlace{dir, `Include "` + filepath.ToSlash(filepath.Join(dir, configPrefix+"*"+configSuffix)) + `"`}
	return ssh, ours, nil
}

// installConfig writes the configuration to its file, and the line that includes it where
// that is wanted.
func (a *app) installConfig(ctx context.Context, store *profile.Store, p *profile.Profile, f *sshconfig.File, o configOptions) error {
	ssh, place, err := configPlaces(store)
	if err != nil {
		return err
	}
	config := filepath.Join(filepath.Dir(ssh.dir), "config")
	switch {
	case o.beside && strings.ContainsAny(place.dir, "\"\\*?[%$"):
		return withHint(fmt.Errorf("OpenSSH cannot be told to include files of %s", place.dir), "leave --beside out, or let TELEPORT_HOME name another directory")
	case !o.beside:
		if err := makeOwn(filepath.Dir(ssh.dir)); err != nil {
			return withHint(err, "--beside puts the file into the profile directory instead")
		}
		place = ssh
	}
	if err := makeOwn(place.dir); err != nil {
		return err
	}
	path := filepath.Join(place.dir, configPrefix+p.Name+configSuffix)
	if err := writeConfig(ctx, store, path, f, o); err != nil {
		return err
	}
	names := make([]string, len(f.Clusters))
	for i, c := range f.Clusters {
		names[i] = text.Line("*." + c.Suffix)
	}
	a.ui.say("Wrote %s, for %s.", path, strings.Join(names, ", "))
	old, err := readConfig(config)
	if err != nil {
		return err
	}
	included := sshconfig.AddInclude(old, place.line)
	switch {
	case bytes.Equal(included, old):
	case o.include:
		if err := replaceConfig(config, included); err != nil {
			return err
		}
		a.ui.say("%s reads it now.", config)
	default:
		a.ui.say("Next, put this line at the top of %s, or have it put there: tsh config --install --include\n\n    %s\n", config, place.line)
		return nil
	}
	a.ui.say("Next: ssh ACCOUNT@NODE.%s", text.Line(f.Clusters[0].Suffix))
	return nil
}

// makeOwn makes a directory for this person alone, if it is not there.
func makeOwn(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return durable.CheckFiles(dir, nil, true)
}

// writeConfig writes an installed file. One that is there is replaced only if it is one
// of these.
func writeConfig(ctx context.Context, store *profile.Store, path string, f *sshconfig.File, o configOptions) error {
	old, err := readConfig(path)
	if err != nil {
		return err
	}
	if len(old) > 0 && !bytes.HasPrefix(old, []byte(configHeader)) {
		return withHint(fmt.Errorf("%s is not a file of tsh", path), "move it away; nothing was changed")
	}
	f.Guarded = true
	if usual, err := os.UserHomeDir(); err != nil || filepath.Join(usual, ".tsh") != store.Home() {
		f.Home = store.Home()
	}
	rendered, err := f.Render()
	if err != nil {
		return withHint(err, configPathHint)
	}
	flags, err := json.Marshal(o)
	if err != nil {
		return err
	}
	data := []byte(configHeader + configFlags + string(flags) + "\n\n" + rendered)
	if bytes.Equal(old, data) {
		return nil
	}
	return durable.WriteFiles(ctx, filepath.Dir(path), []durable.File{{Name: filepath.Base(path), Data: data}}, true)
}

// readConfig reads a file of OpenSSH; a missing one is empty.
func readConfig(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfigFile {
		return nil, fmt.Errorf("%s is not a configuration file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxConfigFile))
}

// replaceConfig replaces the person's own configuration as one: links that lead to it
// stay, and so does its mode.
func replaceConfig(path string, data []byte) (err error) {
	mode := fs.FileMode(0o600)
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		mode = info.Mode().Perm()
	} else if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is a link that leads nowhere", path)
	}
	temp := filepath.Join(filepath.Dir(path), ".tsh-"+rand.Text())
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// installedConfigs are the files of a place that --install has written.
func installedConfigs(place configPlace) (paths []string) {
	entries, _ := os.ReadDir(place.dir) // what is not there has none
	for _, e := range entries {
		path := filepath.Join(place.dir, e.Name())
		if !strings.HasPrefix(e.Name(), configPrefix) || !strings.HasSuffix(e.Name(), configSuffix) || !e.Type().IsRegular() {
			continue
		}
		if data, err := readConfig(path); err == nil && bytes.HasPrefix(data, []byte(configHeader)) {
			paths = append(paths, path)
		}
	}
	return paths
}

// uninstallConfig removes the files of --install, with --proxy the one of that proxy, and
// with the last one the line that includes them.
func (a *app) uninstallConfig(store *profile.Store) error {
	_, name, err := a.namedProxy(store)
	if err != nil {
		return err
	}
	ssh, ours, err := configPlaces(store)
	if err != nil {
		return err
	}
	config := filepath.Join(filepath.Dir(ssh.dir), "config")
	done := false
	for _, place := range []configPlace{ssh, ours} {
		left := false
		for _, path := range installedConfigs(place) {
			if name != "" && filepath.Base(path) != configPrefix+name+configSuffix {
				left = true
				continue
			}
			if err := os.Remove(path); err != nil {
				return err
			}
			done = true
			a.ui.say("Removed %s.", path)
		}
		old, err := readConfig(config)
		if err != nil {
			return err
		}
		if without := sshconfig.RemoveInclude(old, place.line); !left && len(without) < len(old) {
			if err := replaceConfig(config, without); err != nil {
				return err
			}
			done = true
			a.ui.say("Removed the line that includes such files from %s.", config)
		}
	}
	if !done {
		a.ui.say("Nothing of tsh config --install is here.")
	}
	return nil
}

// renewConfig writes the installed files for a profile once more, after its login or its
// clusters have changed, with the flags that they were made with. Where none is installed
// nothing happens. That it fails is no failure of the command.
func (a *app) renewConfig(ctx context.Context, store *profile.Store, p *profile.Profile) {
	ssh, ours, err := configPlaces(store)
	if err != nil {
		return
	}
	for _, place := range []configPlace{ssh, ours} {
		path := filepath.Join(place.dir, configPrefix+p.Name+configSuffix)
		data, err := readConfig(path)
		rest, ok := bytes.CutPrefix(data, []byte(configHeader+configFlags))
		if err != nil || !ok {
			continue
		}
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		var o configOptions
		if err = json.Unmarshal(line, &o); err == nil {
			err = o.check()
		}
		var f *sshconfig.File
		if err == nil {
			f, err = a.sshConfig(store, p, o)
		}
		if err == nil {
			err = writeConfig(ctx, store, path, f, o)
		}
		if err != nil {
			a.ui.warn("%s is not up to date: %v", path, err)
		}
	}
}
