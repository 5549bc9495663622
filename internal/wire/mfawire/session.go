package mfawire

// What a server says of whether a second factor is required.
const (
	RequiredYes = 1
	RequiredNo  = 2
)

// RequiredRequest asks whether a session takes a second factor (IsMFARequired).
type RequiredRequest struct {
	Node *NodeLogin `wire:"3"`
}

// NodeLogin is a session on a node, by the name, address or ID that it is dialled with.
type NodeLogin struct {
	Node  string `wire:"1"`
	Login string `wire:"2"`
}

// RequiredResponse answers RequiredRequest. Servers of 14.x set the first field alone.
type RequiredResponse struct {
	Required bool  `wire:"1"`
	Answer   int32 `wire:"2"` // RequiredYes or RequiredNo
}
