/* A plugin of qemu's user mode: how often each translated block of guest code ran.
 *
 *     qemu-aarch64 -plugin ./qemu_blocks.so,out=blocks.txt PROGRAM
 *
 * When the program ends, one line per block goes to the file: executions, address of the first
 * instruction in hexadecimal, number of instructions. Blocks that never ran are left out; one
 * that was translated twice has two lines.
 *
 * Declares what it needs of the plugin interface itself: distributions that ship qemu do not
 * always ship its header. Callbacks on execution are in every version of the interface;
 * PLUGIN_API is the version announced to qemu (1 suits 4.2 to 8.2, 2 later ones). */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1
#endif
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { READS_NO_REGISTERS = 0 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id,
                                                  void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *,
                                                 void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

EXPORT int qemu_plugin_version = PLUGIN_API;

typedef struct block {
  uint64_t executions;
  uint64_t address;
  size_t instructions;
  struct block *next;
} block;

static block *blocks;
static const char *out_path = "blocks.txt";

/* Threads of the guest would race here: programs to count run with one. */
static void on_execution(unsigned vcpu, void *counted) {
  (void)vcpu;
  ((block *)counted)->executions += 1;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *translated) {
  (void)id;
  block *added = malloc(sizeof *added);
  if (added == NULL) {
    abort();
  }
  *added = (block){0, qemu_plugin_tb_vaddr(translated), qemu_plugin_tb_n_insns(translated),
                   blocks};
  blocks = added;
  qemu_plugin_register_vcpu_tb_exec_cb(translated, on_execution, READS_NO_REGISTERS, added);
}

static void at_exit(plugin_id id, void *unused) {
  (void)id;
  (void)unused;
  FILE *out = fopen(out_path, "w");
  if (out == NULL) {
    perror(out_path);
    return;
  }
  for (const block *each = blocks; each != NULL; each = each->next) {
    if (each->executions != 0) {
      fprintf(out, "%" PRIu64 " %" PRIx64 " %zu\n", each->executions, each->address,
              each->instructions);
    }
  }
  if (fclose(out) != 0) {
    perror(out_path);
  }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; ++i) {
    if (strncmp(argv[i], "out=", 4) == 0) {
      out_path = strdup(argv[i] + 4);
    }
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, at_exit, NULL);
  return 0;
}
