#include "broker/core/group_impl.h"
