/* Consumer groups: life and rows. */
#include "broker/core/group_impl.h"

void groups_write(struct core *co)
{
    (void)co;
}
