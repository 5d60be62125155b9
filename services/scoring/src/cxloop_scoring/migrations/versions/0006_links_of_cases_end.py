"""Until when a link of a case was believed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_KEY = ["kind", "subject", "case_document"]


def upgrade() -> None:
    op.add_column(
        "case_links",
        sa.Column(
            "forgotten_at",
            sa.DateTime(timezone=True),
            comment="when no record named it any more; null while one does",
        ),
    )
    # A link that comes back is a row of its own. Workers of the version before cannot write links from here on.
    op.drop_constraint("case_links_pkey", "case_links")
    op.create_index("case_links_key", "case_links", _KEY)
    op.create_index(
        "case_links_in_force",
        "case_links",
        _KEY,
        unique=True,
        postgresql_where=sa.text("forgotten_at IS NULL"),
    )


def downgrade() -> None:
    op.execute("DELETE FROM case_links WHERE forgotten_at IS NOT NULL")
    op.drop_index("case_links_in_force")
    op.drop_index("case_links_key")
    op.create_primary_key("case_links_pkey", "case_links", _KEY)
    op.drop_column("case_links", "forgotten_at")
