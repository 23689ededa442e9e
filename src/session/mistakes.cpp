#include "session/mistakes.hpp"

namespace crosslink::core {

void set_mistake(Mistake mistake) { MistakeInForce::value = mistake; }

}  // namespace crosslink::core
