// What the files here share: each is one bug, named by its symptom, with a test that failed before it was mended.
#pragma once

#include "link_fixture.hpp"

namespace crosslink::test {

class Regress : public LinkTest {};

}  // namespace crosslink::test
