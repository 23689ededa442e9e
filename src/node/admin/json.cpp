// Boost.JSON's own code, compiled here and nowhere else.
#include <boost/json/src.hpp>
