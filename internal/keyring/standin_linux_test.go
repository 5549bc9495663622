package keyring

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/godbus/dbus/v5"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

const (
	testCollection = dbus.ObjectPath("/org/freedesktop/secrets/collection/chosen")
	testItem       = testCollection + "/1"
	testSession    = dbus.ObjectPath("/org/freedesktop/secrets/session/1")
	testPrompt     = dbus.ObjectPath("/org/freedesktop/secrets/prompt/1")
	nowhere        = dbus.ObjectPath(noObject)
)

// theSecret is a secret as godbus writes it.
type theSecret struct {
	Session           dbus.ObjectPath
	Parameters, Value []byte
	ContentType       string
}

// What a stand-in does in place of answering.
type (
	silence   struct{}
	departure struct{}
)

// completed is a signal that follows an answer: that a prompt has ended.
type completed struct {
	prompt dbus.ObjectPath
	body   []any
}

// standIn is a Secret Service with one unlocked keyring that holds keyOf(7) in
// every slot, and its oddities.
type standIn struct {
	conn *dbus.Conn
	then []completed // after a prompt was shown

	mu  sync.Mutex
	odd map[string]any // by member: []any, silence, departure, dbus.Error
}

// become exchanges the oddities.
func (s *standIn) become(odd map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.odd = odd
}

func (s *standIn) oddity(member string) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, odd := s.odd[member]
	return answer, odd
}

// serve starts a stand-in on a bus of its own, which becomes that of the test.
func serve(t *testing.T, s *standIn) {
	t.Helper()
	bus := testenv.NewBus(t)
	bus.Use(t)
	s.conn = bus.Dial(t)
	if reply, err := s.conn.RequestName(busName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	messages := make(chan *dbus.Message, 64)
	s.conn.Eavesdrop(messages)
	go func() {
		for message := range messages {
			if message.Type == dbus.TypeMethodCall {
				s.answer(message)
			}
		}
	}()
}

// answers are those of a healthy service.
func answers(message *dbus.Message) map[string]any {
	asked := []dbus.ObjectPath{}
	if len(message.Body) == 1 {
		asked, _ = message.Body[0].([]dbus.ObjectPath)
	}
	return map[string]any{
		"Collections": []any{dbus.MakeVariant([]dbus.ObjectPath{testCollection})},
		"ReadAlias":   []any{testCollection},
		"Unlock":      []any{asked, nowhere},
		"Locked":      []any{dbus.MakeVariant(false)},
		"SearchItems": []any{[]dbus.ObjectPath{testItem}},
		"OpenSession": []any{dbus.MakeVariant(""), testSession},
		"GetSecret":   []any{theSecret{testSession, []byte{}, []byte(encode(keyOf(7))), "text/plain"}},
		"CreateItem":  []any{testItem, nowhere},
		"Delete":      []any{nowhere},
		"Prompt":      []any{},
	}
}

func (s *standIn) answer(message *dbus.Message) {
	member, _ := message.Headers[dbus.FieldMember].Value().(string)
	if member == "Get" && len(message.Body) == 2 { // a property
		member, _ = message.Body[1].(string)
	}
	answer, odd := s.oddity(member)
	if !odd {
		answer = answers(message)[member]
	}
	reply := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: message.Headers[dbus.FieldSender],
		dbus.FieldReplySerial: dbus.MakeVariant(message.Serial()),
	}}
	switch answer := answer.(type) {
	case silence:
		return
	case departure:
		s.conn.Close()
		return
	case dbus.Error:
		reply.Type, reply.Body = dbus.TypeError, answer.Body
		reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(answer.Name)
	case []any:
		reply.Body = answer
	}
	if len(reply.Body) > 0 {
		reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(reply.Body...))
	}
	s.conn.Send(reply, nil)
	if member == "Prompt" {
		for _, c := range s.then {
			s.emit(c, message.Headers[dbus.FieldSender])
		}
	}
}

// emit tells that a prompt has ended: everybody who wants to hear of the one that
// we showed, and of another one the caller, who does not.
func (s *standIn) emit(c completed, caller dbus.Variant) {
	signal := &dbus.Message{Type: dbus.TypeSignal, Body: c.body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(c.prompt), dbus.FieldInterface: dbus.MakeVariant(promptInterface), dbus.FieldMember: dbus.MakeVariant("Completed"),
	}}
	if len(c.body) > 0 {
		signal.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(c.body...))
	}
	if c.prompt != testPrompt {
		signal.Headers[dbus.FieldDestination] = caller
	}
	s.conn.Send(signal, nil)
}

// asks is what each of our calls asks the service, in order.
func asks() map[string][]string {
	return map[string][]string{
		"Get":    {"Collections", "ReadAlias", "Unlock", "SearchItems", "OpenSession", "GetSecret"},
		"Set":    {"Collections", "ReadAlias", "Unlock", "OpenSession", "CreateItem"},
		"Delete": {"Collections", "ReadAlias", "Unlock", "SearchItems", "Delete"},
	}
}

func TestStandInIsHealthy(t *testing.T) {
	serve(t, &standIn{})
	checkLeaks(t)
	wantKey(t, "slot", keyOf(7))
	mustSet(t, "slot", keyOf(8))
	mustDelete(t, "slot")
}

// case K02, case K09: each question may be the one that is never answered.
func TestServiceThatStopsAnswering(t *testing.T) {
	eachQuestion(t, silence{}, hasty(), func(t *testing.T, err error) {
		if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "does not answer within 100ms") {
			t.Errorf("%v, want %v", err, ErrNoAnswer)
		}
	})
}

// case K09: or the last one.
func TestServiceThatDepartsMidCall(t *testing.T) {
	eachQuestion(t, departure{}, patient(), func(t *testing.T, err error) {
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "went away before it answered") {
			t.Errorf("%v, want %v", err, ErrUnavailable)
		}
	})
}

// case K09: an answer has the types of the API, or is an error.
func TestServiceWithWrongTypes(t *testing.T) {
	for _, wrong := range [][]any{
		{}, {"text"}, {uint32(47)}, {true}, {[]string{"/"}}, {[]byte{47}}, {dbus.MakeVariant(uint32(1))}, {dbus.MakeVariant([]string{"/"})},
		{[]any{uint32(1), "two"}}, {map[string]dbus.Variant{"a": dbus.MakeVariant(1)}}, {[][]dbus.ObjectPath{{"/"}}}, {[]dbus.Variant{dbus.MakeVariant(testItem)}},
		{theSecret{testSession, []byte{}, []byte{}, ""}, "more"}, {struct{ A, B, C, D string }{"a", "b", "c", "d"}}, {struct{ A []byte }{[]byte("a")}},
		{nowhere, nowhere, nowhere}, {"", nowhere}, {[]dbus.ObjectPath{}, "/"}, {dbus.MakeVariant(dbus.MakeVariant([]dbus.ObjectPath{testCollection}))},
	} {
		eachQuestion(t, wrong, patient(), func(t *testing.T, err error) {
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "with types that the call does not have") {
				t.Errorf("%v, want %v, where the answer is %v", err, ErrUnavailable, wrong)
			}
		})
	}
}

// case K09: errors of the service are passed on as what they mean, in one clean
// line and without the key that it was told.
func TestServiceThatAnswersWithErrors(t *testing.T) {
	said := "cannot store " + encode(keyOf(7)) + "\x1b[31m\r\n  and \u202e more" + strings.Repeat("x", 5000)
	for name, want := range map[string]error{
		"org.freedesktop.Secret.Error.IsLocked":     ErrLocked,
		"org.freedesktop.DBus.Error.TimedOut":       ErrNoAnswer,
		"org.freedesktop.DBus.Error.NoReply":        ErrUnavailable,
		"org.freedesktop.DBus.Error.Spawn.Failed":   ErrUnavailable,
		"org.freedesktop.DBus.Error.AccessDenied":   ErrUnavailable,
		"org.freedesktop.DBus.Error.NotSupported":   ErrUnavailable,
		"org.freedesktop.Secret.Error.NoSession":    ErrUnavailable,
		"org.gnome.keyring.Error.Denied":            ErrUnavailable,
		"org.freedesktop.DBus.Error.ServiceUnknown": ErrUnavailable,
	} {
		eachQuestion(t, dbus.Error{Name: name, Body: []any{said}}, patient(), func(t *testing.T, err error) {
			switch {
			case !errors.Is(err, want):
				t.Errorf("%s: %v, want %v", name, err, want)
			case len(err.Error()) > 1500 || strings.ContainsFunc(err.Error(), unicode.IsControl) || strings.Contains(err.Error(), "\u202e"):
				t.Errorf("%s: %q", name, err)
			case strings.HasSuffix(t.Name(), "CreateItem") && strings.Contains(err.Error(), version):
				t.Errorf("the key is in %q", err)
			}
		})
	}
}

// eachQuestion has each question of each call answered the same odd way.
func eachQuestion(t *testing.T, answer any, s System, check func(*testing.T, error)) {
	t.Helper()
	_, departs := answer.(departure)
	service := &standIn{}
	if !departs {
		serve(t, service)
	}
	for name, members := range asks() {
		for _, member := range members {
			t.Run(fmt.Sprintf("%s %s", name, member), func(t *testing.T) {
				if departs {
					service = &standIn{}
					serve(t, service)
				}
				service.become(map[string]any{member: answer})
				checkLeaks(t)
				start := time.Now()
				check(t, calls(s)[name]())
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

// case K05: an item that another process deletes between finding and reading.
func TestItemThatVanishes(t *testing.T) {
	for _, name := range []string{"org.freedesktop.Secret.Error.NoSuchObject", "org.freedesktop.DBus.Error.UnknownMethod", "org.freedesktop.DBus.Error.UnknownObject"} {
		vanished := dbus.Error{Name: name, Body: []any{"no such item"}}
		serve(t, &standIn{odd: map[string]any{"GetSecret": vanished, "Delete": vanished}})
		wantMissing(t, "slot")
		mustDelete(t, "slot")
	}
}

// The keyring that is unlocked at login comes first, as it does for go-keyring.
func TestLoginKeyringBeforeTheDefaultOne(t *testing.T) {
	serve(t, &standIn{odd: map[string]any{
		"Collections": []any{dbus.MakeVariant([]dbus.ObjectPath{testCollection, dbus.ObjectPath(loginCollection)})},
		"ReadAlias":   dbus.Error{Name: "org.freedesktop.DBus.Error.Failed", Body: []any{"not to be asked"}},
	}})
	wantKey(t, "slot", keyOf(7))
}

func TestServiceWithoutAKeyring(t *testing.T) {
	serve(t, &standIn{odd: map[string]any{"Collections": []any{dbus.MakeVariant([]dbus.ObjectPath{})}, "ReadAlias": []any{nowhere}}})
	allCalls(t, patient(), ErrUnavailable, "no default collection")
}

// prompting is a service that is locked until its prompt is answered.
func prompting(then ...completed) *standIn {
	return &standIn{odd: map[string]any{"Unlock": []any{[]dbus.ObjectPath{}, testPrompt}}, then: then}
}

// answered is a prompt that the person filled in; dismissed is one that she did not.
func answered(prompt dbus.ObjectPath) completed {
	return completed{prompt, []any{false, dbus.MakeVariant([]dbus.ObjectPath{testCollection})}}
}

func dismissed() completed { return completed{testPrompt, []any{true, dbus.MakeVariant("")}} }

// case K02: a desktop asks for the password, and gets it in time.
func TestPromptThatIsAnswered(t *testing.T) {
	other := dismissed()
	other.prompt += "1"
	serve(t, prompting(other, answered(testPrompt)))
	checkLeaks(t)
	wantKey(t, "slot", keyOf(7))
	mustSet(t, "slot", keyOf(8))
	mustDelete(t, "slot")
}

// case K02: or not, and says so at once.
func TestPromptThatIsDismissed(t *testing.T) {
	serve(t, prompting(dismissed()))
	checkLeaks(t)
	start := time.Now()
	allCalls(t, patient(), ErrLocked, "prompt was dismissed")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// case K02: or nobody sees the prompt.
func TestPromptThatNobodyAnswers(t *testing.T) {
	invisible := prompting()
	stuck := prompting()
	stuck.odd["Prompt"] = silence{}
	elsewhere := prompting(answered(testPrompt + "1"))
	for name, s := range map[string]*standIn{"invisible": invisible, "not even shown": stuck, "another is answered": elsewhere} {
		t.Run(name, func(t *testing.T) {
			serve(t, s)
			checkLeaks(t)
			// Long enough to come as far as the prompt, however busy the machine is.
			_, err := System{Timeout: time.Second}.Get("slot")
			if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "nobody answered its prompt within 1s") {
				t.Errorf("%v, want %v", err, ErrLocked)
			}
		})
	}
}

// case K02: storing and deleting may take a prompt, too.
func TestPromptForAnItem(t *testing.T) {
	asking := map[string]any{"CreateItem": []any{testItem, testPrompt}, "Delete": []any{testPrompt}}
	serve(t, &standIn{odd: asking, then: []completed{answered(testPrompt)}})
	mustSet(t, "slot", keyOf(8))
	mustDelete(t, "slot")
	serve(t, &standIn{odd: asking, then: []completed{dismissed()}})
	for _, name := range []string{"Set", "Delete"} {
		if err := calls(patient())[name](); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// case K02, case K09: services that say they unlocked and did not, and odd prompts.
func TestOddPrompts(t *testing.T) {
	locked := []any{dbus.MakeVariant(true)}
	liar := prompting(answered(testPrompt))
	liar.odd["Locked"] = locked
	vague := &standIn{odd: map[string]any{"Unlock": []any{[]dbus.ObjectPath{}, nowhere}, "Locked": locked}}
	for name, test := range map[string]struct {
		s    *standIn
		want error
	}{
		"answered, yet locked":       {liar, ErrLocked},
		"nothing unlocked":           {vague, ErrLocked},
		"lock of another type":       {&standIn{odd: map[string]any{"Unlock": vague.odd["Unlock"], "Locked": []any{dbus.MakeVariant("no")}}}, ErrUnavailable},
		"completed without a result": {prompting(completed{testPrompt, nil}), ErrUnavailable},
		"completed with wrong types": {prompting(completed{testPrompt, []any{"false", "x"}}), ErrUnavailable},
		"result without a variant":   {prompting(completed{testPrompt, []any{false, "x"}}), ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, test.s)
			checkLeaks(t)
			allCalls(t, patient(), test.want)
		})
	}
}
