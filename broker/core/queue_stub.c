/* Until queue.c is there: groups in log mode only. */
#include "broker/core/group_impl.h"

void queue_new(struct core_group *g)
{
    (void)g;
}
void queue_free(struct core_group *g)
{
    (void)g;
}
void queue_part_new(struct gpart *gp)
{
    (void)gp;
}
void queue_part_free(struct gpart *gp)
{
    (void)gp;
}
enum werr queue_load(struct core *co, struct werror *e)
{
    (void)co;
    (void)e;
    return WERR_OK;
}
void queue_write(struct gpart *gp, struct store_txn *t)
{
    (void)gp;
    (void)t;
}
void queue_written(struct gpart *gp, enum werr rc)
{
    (void)gp;
    (void)rc;
}
void queue_rows_delete(uint32_t part_id, uint64_t gid, struct store_txn *t)
{
    (void)part_id;
    (void)gid;
    (void)t;
}
void queue_member_gone(struct member *m, const char *why)
{
    (void)m;
    (void)why;
}
void queue_session_gone(struct member *m)
{
    (void)m;
}
void queue_raised(struct gpart *gp)
{
    (void)gp;
}
void queue_conf_changed(struct core_group *g)
{
    (void)g;
}
void queue_reset(struct gpart *gp, uint64_t to)
{
    gp->floor = to;
}
void queue_paused(struct core_group *g, bool paused)
{
    (void)g;
    (void)paused;
}
void queue_figures(struct gpart *gp, struct queue_figures *f)
{
    (void)gp;
    *f = (struct queue_figures){0};
}
uint64_t queue_leased(const struct core_group *g)
{
    (void)g;
    return 0;
}
const char *queue_blocked(const struct core_group *g)
{
    (void)g;
    return NULL;
}
void queue_dead_moved(struct gpart *gp, uint64_t offset)
{
    (void)gp;
    (void)offset;
}
bool queue_offer(struct gpart *gp, uint64_t offset, int64_t due_ms)
{
    (void)gp;
    (void)offset;
    (void)due_ms;
    return false;
}
bool queue_settle_quietly(struct gpart *gp, uint64_t offset)
{
    (void)gp;
    (void)offset;
    return false;
}
bool queue_state_of(struct gpart *gp, uint64_t offset, enum msg_dlq_state *state)
{
    (void)gp;
    (void)offset;
    (void)state;
    return false;
}
bool gpart_is_dlq(const struct gpart *gp)
{
    (void)gp;
    return false;
}
void part_read(struct core *co, struct part_read *r)
{
    (void)co;
    (void)r;
}
void part_read_cancel(struct part_read *r)
{
    (void)r;
}
