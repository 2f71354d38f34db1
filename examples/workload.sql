-- One customer's visit, for pgbench: an order with its items and its payment, what was sold of a product,
-- the status of another order, and the end of an old one. Rows are locked in one order, so that no deadlock can happen.
\set customer random(1, 100000)
\set product random(1, 499)
\set quantity random(1, 9)
\set shipped random(1, 2500)
\set old random(2501, 5000)
BEGIN;
UPDATE shop.customers SET credit = credit - :quantity, tags = array_append(tags[1:3], 'visited') WHERE id = :customer;
UPDATE shop.products SET sold = sold + :quantity WHERE sku = 'SKU-' || to_char(:product, 'FM0000');
INSERT INTO shop.orders (customer_id, total, note)
VALUES (:customer, :quantity * 9.99, CASE WHEN :quantity > 5 THEN 'bulk' END) RETURNING id AS new_order \gset
INSERT INTO shop.order_items
SELECT :new_order, n, 'SKU-' || to_char(:product + n - 1, 'FM0000'), :quantity, 9.99 FROM generate_series(1, 2) n;
INSERT INTO shop.payments (paid_on, amount, method) VALUES (date '2026-01-01' + :quantity, :quantity * 9.99, 'card');
UPDATE shop.orders SET status = 'paid' WHERE id = :new_order;
UPDATE shop.orders SET status = 'returned', note = NULL WHERE id = :shipped;
DELETE FROM shop.orders WHERE id = :old;
COMMIT;
