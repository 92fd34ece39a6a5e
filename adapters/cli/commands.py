"""Every command: where its function is, and what lists of commands say of it in a line.

Only the module of the command that is asked for is imported: starting is most of what a short
command takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or with `commands` a group of them, whose function is what it does when none of
    them is named.

    `at`: the function, as `module:name` in this package; it gets the settings first, then its own
    arguments and options, and returns the exit status. `serves`: it runs until it is stopped.
    `quiet`: of its logs only warnings are shown.
    """

    at: str
    line: str
    serves: bool = False
    quiet: bool = True
    commands: Mapping[str, Command] = field(default_factory=dict)


COMMANDS = {
    "up": Command("up:up", "Run the service, every part in one process", serves=True, quiet=False),
    "demo": Command("demo:demo", "Show everything on a made-up fleet", serves=True),
    "import": Command("importing:import_folder", "Import exports from a folder or from git"),
    "devices": Command(
        "listings:devices",
        "List devices; where their settings come from",
        commands={
            "show": Command("groups:show_device", "Show how a device is read, and why so"),
        },
    ),
    "fleet": Command("listings:fleet", "Show who waits longest, who fails, and why"),
    "history": Command("listings:history", "Show a device's timeline"),
    "show": Command("texts:show", "Print a configuration, today's or a former one"),
    "diff": Command("texts:diff", "Print what changed, in words or as lines"),
    "trigger": Command("backup:trigger", "Back a device up now, and wait for how it ends"),
    "collect": Command("collecting:collect", "Read every device of the inventory once"),
    "collector": Command(
        "collecting:collector", "Run one more collector", serves=True, quiet=False
    ),
    "inventory": Command(
        "inventory:list_inventory",
        "Which devices are collected, and how",
        commands={
            "list": Command("inventory:list_inventory", "List devices and how they are read"),
            "apply": Command("inventory:apply_inventory", "Register those of a file or a NetBox"),
            "set": Command("inventory:set_device", "Register a device, or register it anew"),
            "remove": Command("inventory:remove_device", "Take a device out of the inventory"),
        },
    ),
    "groups": Command(
        "groups:list_groups",
        "What groups of devices give their devices",
        commands={
            "list": Command("groups:list_groups", "List groups, and to how many they give what"),
            "set": Command("groups:set_group", "Say what a group gives: this, and nothing else"),
            "change": Command("groups:change_group", "Change some of what a group gives"),
            "remove": Command("groups:remove_group", "Remove a group that has no devices"),
        },
    ),
    "credentials": Command(
        "credentials:list_credentials",
        "Stored credentials of devices",
        commands={
            "list": Command("credentials:list_credentials", "List them, and who uses them"),
            "set": Command("credentials:set_credential", "Store one, encrypted"),
            "remove": Command("credentials:remove_credential", "Remove one that nobody uses"),
        },
    ),
    "hostkeys": Command(
        "credentials:list_host_keys",
        "Host keys of devices",
        commands={
            "list": Command("credentials:list_host_keys", "List pinned and expected ones"),
            "release": Command("credentials:release_host_key", "Let a device show another one"),
        },
    ),
    "keys": Command(
        "keys:list_keys",
        "Who may use the API",
        commands={
            "list": Command("keys:list_keys", "List API keys, never what they are"),
            "create": Command("keys:create_key", "Make an API key, and print it"),
            "revoke": Command("keys:revoke_key", "Refuse an API key from now on"),
        },
    ),
    "accounts": Command(
        "accounts:list_accounts",
        "Tenants with a NATS account of their own",
        commands={
            "add": Command("accounts:add_accounts", "Give tenants an account"),
            "remove": Command("accounts:remove_account", "Take a tenant's account away"),
            "show": Command("accounts:show_account", "Show what a poller or a reader logs in with"),
            "mirror": Command("accounts:mirror", "Make the mirror that a tenant's readers replay"),
        },
    ),
    "audit": Command(
        "listings:audit",
        "Show who did what; verify, prove and export it",
        commands={
            "verify": Command("verifying:verify_all", "Compare all that is known with the stream"),
            "reconstruct": Command("reconstructing:reconstruct", "Tell it from the stream alone"),
            "prove": Command("proving:prove", "Print the proof that an event is in the log"),
            "prove-growth": Command("proving:prove_growth", "Print the proof that it only grew"),
            "verify-proof": Command("proving:verify_proof", "Check a proof"),
            "export": Command("auditing:export_bundle", "Write a bundle that verifies offline"),
            "verifier": Command("auditing:print_verifier", "Print what checks bundles"),
            "checkpoint": Command("auditing:show_checkpoint", "Print the last checkpoint"),
            "keys": Command("log_keys:show_keys", "Print the logs' verifier keys"),
            "seal": Command("auditing:seal_now", "Sign all that is recorded so far, now"),
            "rotate-key": Command("log_keys:rotate_key", "Hand over to a new signing key"),
            "accept-loss": Command("log_loss:accept_loss", "Go on signing after signed was lost"),
            "state": Command("log_standing:show_state", "Show how far it is signed and witnessed"),
        },
    ),
    "witness": Command("witnessing:witness", "Cosign another's checkpoints", serves=True),
    "replay": Command("replaying:replay", "Print the events of the log, one a line"),
    "retention": Command(
        "retaining:show_retention",
        "How long texts are kept",
        commands={
            "show": Command("retaining:show_retention", "Show what is kept, and legal holds"),
            "set": Command("retaining:set_retention", "Set which texts the tenant keeps"),
            "hold": Command("retaining:place_hold", "Place a legal hold"),
            "release": Command("retaining:release_hold", "End a legal hold"),
            "run": Command("retaining:run_retention", "Let go what is not kept, now"),
        },
    ),
    "erase": Command("retaining:erase", "Erase the texts of a device, or of the tenant"),
    "rotate-master-key": Command("rotating:rotate_master_key", "Move all keys to another one"),
    "rotate-tenant-key": Command("rotating:rotate_tenant_key", "Give a tenant another key"),
    "deadletters": Command(
        "letters:list_letters",
        "What could not be recorded, and why",
        commands={
            "show": Command("letters:show_letter", "Print the message as it came"),
            "retry": Command("letters:retry_letter", "Send it again, or do the work that failed"),
        },
    ),
    "projections": Command(
        "projections:status",
        "How the read models stand; rebuild, verify",
        commands={
            "status": Command("projections:status", "Show how far they are, against the stream"),
            "rebuild": Command("rebuilding:rebuild", "Build one anew beside the live one"),
            "verify": Command("projections:verify_rows", "Compare the rows with the stream"),
            "parked": Command(
                "parked:list_parked",
                "Events that a read model can't take in",
                commands={
                    "list": Command("parked:list_parked", "List them, and why"),
                    "retry": Command("parked:retry_parked", "Try one again, and those behind it"),
                    "skip": Command("parked:skip_parked", "Let the read model go on without one"),
                },
            ),
        },
    ),
    "recanonicalise": Command("recanonicalising:recanonicalise", "Work fingerprints out anew"),
    "doctor": Command("doctor:doctor", "Check servers, clocks, streams and keys"),
}
