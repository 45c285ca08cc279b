/* The application descriptor and the behaviour record, both in read-only flash.
 * Source: ESP-IDF, "App Image Format", application description (esp_app_desc_t, 256 bytes). */
#include <stdint.h>

#include "behaviour.h"

#define APP_DESC_MAGIC 0xABCD5432u

struct app_desc {
    uint32_t magic;
    uint32_t secure_version;
    uint32_t reserved1[2];
    char version[32];
    char project_name[32];
    char time[16];
    char date[16];
    char idf_version[32];
    uint8_t elf_sha256[32]; /* filled in by elf2image */
    uint16_t min_efuse_block_revision;
    uint16_t max_efuse_block_revision;
    uint8_t mmu_page_size_log2;
    uint8_t reserved2[3];
    uint32_t reserved3[18];
};

_Static_assert(sizeof(struct app_desc) == 256, "bootloaders read exactly 256 bytes");
_Static_assert(__builtin_offsetof(struct app_desc, elf_sha256) == 0x90, "elf2image is told this place");
_Static_assert(sizeof(BACKSTAY_VERSION) <= 32, "the version must fit its field with its final zero");

/* A fixed date: the same source must give the same bytes on every machine and day. */
__attribute__((section(".rodata_desc"), used)) const struct app_desc app_desc = {
    .magic = APP_DESC_MAGIC,
    .secure_version = 0,
    .version = BACKSTAY_VERSION,
    .project_name = "backstay-camera",
    .time = "00:00:00",
    .date = "Jan  1 2026",
    .idf_version = "none",
    .max_efuse_block_revision = 0xFFFF,
    .mmu_page_size_log2 = 16,
};

__attribute__((section(".rodata_behaviour"), used)) const struct behaviour_record behaviour = {
    .magic = {'B', 'S', 'T', 'Y'},
    .record_version = BEHAVIOUR_RECORD_VERSION,
    .flags = BACKSTAY_FLAGS,
};
