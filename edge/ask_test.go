package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/bus"
	"partyline/edge/edgetest"
)
