// Package browsertest has the tests that a real browser takes part in: Debian's
// Chromium, driven through chromedp. They are apart from the others because each
// takes seconds. What the browser showed is kept in dist/artefacts, or in the
// directory that TSH_ARTEFACTS names.
package browsertest
