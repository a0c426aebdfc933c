#ifndef WEIR_TESTS_LIB_STORE_CONTRACT_IMPL_H
#define WEIR_TESTS_LIB_STORE_CONTRACT_IMPL_H
/* What the files of the contract share. */
#include "tests/lib/store_contract.h"

struct fixture {
    const struct contract *c;
    void *disk;
    struct world_env env;
    struct world w;
};

void contract_reopen(struct fixture *f); /* an orderly stop and a start */
/* Commits a txn and waits for it. Takes t. */
enum werr contract_commit(struct fixture *f, struct store_txn *t);

/* Cases of store_contract_rows.c. */
void contract_rows_limits(void **state);
void contract_rows_deleted(void **state);
void contract_rows_pages(void **state);
void contract_rows_while_closing(void **state);

#endif
